"""ggml's matrix product of one row, through its C library: only to be timed beside ours."""

from __future__ import annotations

import ctypes as c
import itertools
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = {"q8_0": 8, "q4_K": 12, "q2_K": 10, "q4_0": 2}
"""Name -> ``ggml_type``."""
F32, NAMES = 0, ("ggml-base", "ggml-cpu")


class _Parameters(c.Structure):
    _fields_ = (("size", c.c_size_t), ("buffer", c.c_void_p), ("no_alloc", c.c_bool))


class Ggml:
    """Equal layers of ``k`` inputs and ``n`` outputs, each in its own memory: ``least`` bytes of weights at 8 bits.

    Weights are repacked for this processor where ggml has such a form of the format.
    """

    def __init__(self, folder: Path, name: str, k: int, n: int, least: int) -> None:
        self.base, self.cpu = (c.CDLL(str(folder / f"lib{each}.so"), mode=c.RTLD_GLOBAL) for each in NAMES)
        kind = FORMATS[name]
        self.cpu.ggml_backend_cpu_init.restype = c.c_void_p
        self.backend = c.c_void_p(self.cpu.ggml_backend_cpu_init())
        self.cpu.ggml_backend_cpu_set_n_threads(self.backend, 1)
        data = self._quantized(kind, k, n)
        self.layer_bytes, self.layers = len(data), -(-least // (k * n))
        weights, work = self._context(self.layers), self._context(2 * self.layers + 8, graphs=self.layers)
        tensors = [self._call("ggml_new_tensor_2d", weights, c.c_int(kind), c.c_int64(k), c.c_int64(n))
                   for _ in range(self.layers)]  # fmt: skip
        x = self._call("ggml_new_tensor_1d", work, c.c_int(F32), c.c_int64(k))
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
        if kind in (FORMATS["q4_K"], FORMATS["q4_0"], FORMATS["q2_K"]):
            found = self._call("ggml_backend_reg_get_proc_address", registry, b"ggml_backend_dev_get_extra_bufts")
            extra = c.CFUNCTYPE(c.POINTER(c.c_void_p), c.c_void_p)(found.value or 0)(device)
            self.base.ggml_backend_buft_name.restype = c.c_char_p
            for each in itertools.takewhile(bool, (extra[i] for i in itertools.count())):
                if b"REPACK" in self.base.ggml_backend_buft_name(c.c_void_p(each)):
                    return c.c_void_p(each)
        return self._call("ggml_backend_dev_buffer_type", device)
