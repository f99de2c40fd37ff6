"""Linear layers of one row whose weights come from memory, by width; beside ggml where its libraries are given.

The layers of a program follow each other, and together they are larger than the cache, so every layer reads its weights
from memory. A measurement is the time of the fastest layer in one run of the program. All widths and formats run in
turns, and a ratio compares times of the same round. The script needs a quiet core: ``taskset -c N`` chooses it.
"""

from __future__ import annotations

import ctypes as c
import itertools
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bench.common import Check, parser, write
from dqt.program.ops.linear import Linear
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.bench import Spread
from dqt.testing import Builder

WIDTHS = (8, 6, 5, 4, 3, 2)
SHAPES = ((4096, 4096), (4096, 11008))
"""Inputs and outputs."""
FORMATS = ("q8_0", "q4_K", "q2_K", "q4_0")
"""Of ggml, by its names."""
LIBRARIES = ("ggml-base", "ggml-cpu")
LEAST_GBS, FASTER = 28.0, {6: 1.3, 4: 1.9, 2: 3.6}
"""Targets: GB of weights a second at 8 bits; times as fast as 8 bits."""
OF_AS_MANY_BITS = {"8 bits": ("ggml q8_0",), "4 bits": ("ggml q4_K", "ggml q4_0"), "2 bits": ("ggml q2_K",)}
OVER_GGML = {"8 bits": 0.9, "4 bits": 0.8, "2 bits": 0.6}
"""ggml's formats of as many bits; target: our time over that of the fastest of them."""


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=31)
    options.add_argument("--cache", type=int, default=32, help="MiB of the last-level cache; layers are 8 times that")
    options.add_argument("--ggml", type=Path, help="folder of libggml-base.so and libggml-cpu.so (see bench/README.md)")
    arguments = options.parse_args()
    results = {
        f"{k}x{n}": measured(k, n, arguments.rounds, 8 * arguments.cache << 20, arguments.ggml) for k, n in SHAPES
    }
    settings = {"rows": 1, "threads": 1, "rounds": arguments.rounds, "cache_mib": arguments.cache, "widths": WIDTHS}
    write("linear", settings=settings, results=results, checks=checks(results))


def chain(k: int, n: int, least: int) -> Program:
    """Layers ``k -> n -> k -> ...`` of random weights, ``least`` bytes of them or more."""
    b = Builder(1, (k,), widths=tuple(sorted(WIDTHS)))
    x = "v0"
    for _ in range(-(-least // (2 * k * n))):
        x = b.linear(b.linear(x, n), k)
    return b.build(x)


def measured(k: int, n: int, rounds: int, least: int, ggml: Path | None) -> dict[str, Any]:
    """One shape: microseconds of a layer, GB of weights read a second, and times as fast as 8 bits."""
    kinds: dict[str, tuple[Callable[[], float], float]] = {}
    program = chain(k, n, least)
    run = Runtime(program, threads=1)
    wanted = [i for i, op in enumerate(program.ops) if isinstance(op, Linear) and op.weight.shape == (n, k)]
    x = np.random.default_rng(0).random((1, k)).astype(np.float32)
    for bits in WIDTHS:
        read = k * n * ((bits + 1) // 2) / 4  # slices of two bits
        kinds[f"{bits} bits"] = (lambda b=bits: layer_time(run, x, b, wanted)), read  # type: ignore[misc]
    for name in FORMATS if ggml else ():
        peer = Ggml(ggml, name, k, n, least)  # type: ignore[arg-type]
        kinds[f"ggml {name}"] = (lambda p=peer: peer_time(p)), float(peer.layer_bytes)  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for i in range(rounds + 1):
        for name, (once, _) in kinds.items():
            seconds = once()
            if i:  # the first round is warm-up
                times[name].append(seconds)
    eight = np.array(times["8 bits"])
    found = {}
    for name, values in times.items():
        found[name] = {
            "us": vars(Spread.of([1e6 * t for t in values])),
            "gbs": vars(Spread.of([kinds[name][1] / t / 1e9 for t in values])),
            "times_as_fast_as_8_bits": vars(Spread.of(list(eight / np.array(values)))),
        }
        us, gbs, ratio = (entry["median"] for entry in found[name].values())
        print(f"{k}x{n}, {name}: {us:.0f} us, {gbs:.1f} GB/s, {ratio:.2f} times as fast as 8 bits", flush=True)
    return found


def layer_time(run: Runtime, x: Any, bits: int, wanted: list[int]) -> float:
    """Seconds of the fastest of the wanted instructions in one run through the chain: others may be interrupted."""
    seconds = run.profile(x, bits)
    return min(seconds[i] for i in wanted)


def peer_time(peer: Ggml) -> float:
    """Seconds of the fastest of the layers, each once."""
    times = []
    for i in range(peer.layers):
        began = perf_counter()
        peer.run(i)
        times.append(perf_counter() - began)
    return min(times)


def checks(results: dict[str, Any]) -> list[Check]:
    """The stream of weights at 8 bits, what fewer bits save, and the times beside ggml's."""
    made = []
    for shape, found in results.items():
        made.append(Check(f"{shape}, GB/s of weights at 8 bits", found["8 bits"]["gbs"]["median"], ">=", LEAST_GBS))
        made += [
            Check(f"{shape}, {bits} bits, times as fast as 8", entry["median"], ">=", target)
            for bits, target in FASTER.items()
            for entry in (found[f"{bits} bits"]["times_as_fast_as_8_bits"],)
        ]
        over = over_ggml(found)
        made += [Check(f"{shape}, {b}, time over ggml's", over[b], "<=", OVER_GGML[b]) for b in over]
    return made


def over_ggml(found: dict[str, Any]) -> dict[str, float]:
    """Width -> our time of one shape over that of ggml's fastest format of as many bits, where it was measured."""
    us = {kind: entry["us"]["median"] for kind, entry in found.items()}
    return {
        width: us[width] / min(us[kind] for kind in formats)
        for width, formats in OF_AS_MANY_BITS.items()
        if all(kind in us for kind in formats)
    }


class _Parameters(c.Structure):
    _fields_ = (("size", c.c_size_t), ("buffer", c.c_void_p), ("no_alloc", c.c_bool))


class Ggml:
    """ggml's matrix product of one row, through its C library: only to be timed beside ours.

    Equal layers of ``k`` inputs and ``n`` outputs, each in its own memory: ``least`` bytes of weights at 8 bits.

    Weights are repacked for this processor where ggml has such a form of the format.
    """

    def __init__(self, folder: Path, name: str, k: int, n: int, least: int) -> None:
        self.base, self.cpu = (c.CDLL(str(folder / f"lib{each}.so"), mode=c.RTLD_GLOBAL) for each in LIBRARIES)
        kind = self._type(name)
        self.cpu.ggml_backend_cpu_init.restype = c.c_void_p
        self.backend = c.c_void_p(self.cpu.ggml_backend_cpu_init())
        self.cpu.ggml_backend_cpu_set_n_threads(self.backend, 1)
        data = self._quantized(kind, k, n)
        self.layer_bytes, self.layers = len(data), -(-least // (k * n))
        weights, work = self._context(self.layers), self._context(2 * self.layers + 8, graphs=self.layers)
        tensors = [self._call("ggml_new_tensor_2d", weights, c.c_int(kind), c.c_int64(k), c.c_int64(n))
                   for _ in range(self.layers)]  # fmt: skip
        x = self._call("ggml_new_tensor_1d", work, c.c_int(self._type("f32")), c.c_int64(k))
        self.graphs = []
        for tensor in tensors:
            graph = self._call("ggml_new_graph", work)
            self.base.ggml_build_forward_expand(graph, self._call("ggml_mul_mat", work, tensor, x))
            self.graphs.append(graph)
        self._call("ggml_backend_alloc_ctx_tensors_from_buft", weights, self._buffers(kind))
        self._call("ggml_backend_alloc_ctx_tensors", work, self.backend)
        for tensor in tensors:
            self.base.ggml_backend_tensor_set(tensor, data, c.c_size_t(0), c.c_size_t(len(data)))
        row = np.random.default_rng(0).standard_normal(k).astype(np.float32).tobytes()
        self.base.ggml_backend_tensor_set(x, row, c.c_size_t(0), c.c_size_t(len(row)))

    def run(self, i: int) -> None:
        """One product with layer ``i``."""
        status = self.base.ggml_backend_graph_compute(self.backend, self.graphs[i])
        if status:
            raise RuntimeError(f"ggml_backend_graph_compute: status {status}")

    def _type(self, name: str) -> int:
        """The number of a format in ggml's enumeration, by its name."""
        named = self.base.ggml_type_name
        named.restype = c.c_char_p
        return next(i for i in itertools.count() if named(c.c_int(i)) == name.encode())

    def _call(self, name: str, *arguments: Any) -> c.c_void_p:
        function = getattr(self.base, name)
        function.restype = c.c_void_p
        result = function(*arguments)
        if not result:
            raise RuntimeError(f"{name} returned null")
        return c.c_void_p(result)

    def _context(self, tensors: int, graphs: int = 0) -> c.c_void_p:
        self.base.ggml_tensor_overhead.restype = self.base.ggml_graph_overhead.restype = c.c_size_t
        size = tensors * self.base.ggml_tensor_overhead() + graphs * self.base.ggml_graph_overhead() + 4096
        return self._call("ggml_init", _Parameters(size, None, True))

    def _quantized(self, kind: int, k: int, n: int) -> bytes:
        self.base.ggml_row_size.restype = self.base.ggml_quantize_chunk.restype = c.c_size_t
        few = 64  # rows that are quantized, then repeated
        values = np.random.default_rng(1).standard_normal((few, k)).astype(np.float32)
        out = c.create_string_buffer(few * self.base.ggml_row_size(c.c_int(kind), c.c_int64(k)))
        self.base.ggml_quantize_chunk(
            c.c_int(kind), c.c_void_p(values.ctypes.data), out, c.c_int64(0), c.c_int64(few), c.c_int64(k), None
        )  # fmt: skip
        return out.raw * (n // few)

    def _buffers(self, kind: int) -> c.c_void_p:
        """The kind of memory that repacks weights, where ggml has one for q4; its plain kind else."""
        self.cpu.ggml_backend_cpu_reg.restype = c.c_void_p
        registry = c.c_void_p(self.cpu.ggml_backend_cpu_reg())
        device = self._call("ggml_backend_reg_dev_get", registry, c.c_size_t(0))
        if kind != self._type("q8_0"):
            found = self._call("ggml_backend_reg_get_proc_address", registry, b"ggml_backend_dev_get_extra_bufts")
            extra = c.CFUNCTYPE(c.POINTER(c.c_void_p), c.c_void_p)(found.value or 0)(device)
            self.base.ggml_backend_buft_name.restype = c.c_char_p
            for each in itertools.takewhile(bool, (extra[i] for i in itertools.count())):
                if b"REPACK" in self.base.ggml_backend_buft_name(c.c_void_p(each)):
                    return c.c_void_p(each)
        return self._call("ggml_backend_dev_buffer_type", device)


if __name__ == "__main__":
    main()
