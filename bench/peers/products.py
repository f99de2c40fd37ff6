"""Products of one row by a matrix of 4096 x 4096 weights in few bits, from memory; beside ONNX Runtime's MatMulNBits.

A chain of layers is larger than the cache, so that weights come from memory. Both quantize the row to 8 bits
(``accuracy_level=4``) and keep the weights at the bits that are named; MatMulNBits has a scale for each block of
weights.
"""

from __future__ import annotations

import tempfile
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.peers.engines import ONNXRUNTIME, Run, onnxruntime
from bench.peers.times import CLOCKS, turns
from bench.serving.common import Call, ratios, spread
from dqt.arith.plan import Plan
from dqt.program.program import Program
from dqt.runtime import Runtime
from dqt.runtime.bench import pinned
from dqt.testing import Builder

SIZE, LAYERS, BITS, BLOCKS = 4096, 12, (8, 4, 2), (32, 128)
"""Inputs and outputs; layers of the chain, 192 MiB at 8 bits; bits of weights; weights of a block with one scale."""
ACTIVATION = 8
INT8 = 4
"""The accuracy level at which MatMulNBits computes in int8."""


def measured(seconds: float, clock: str, rounds: int | None = None) -> dict[str, Any]:
    """Microseconds of a layer by bits and contestant; this engine's over ONNX Runtime's, of the faster block."""
    x = np.random.default_rng(0).standard_normal((1, SIZE)).astype(np.float32)
    program = chain()
    run = Runtime(program, threads=1)
    found: dict[str, Any] = {}
    for bits in BITS:
        calls: dict[str, Call] = {"dqt": partial(run, x, plan(program, bits, ACTIVATION))}
        if bits < ACTIVATION:
            calls["dqt, activations of as many bits"] = partial(run, x, plan(program, bits, bits))
        for block in BLOCKS:
            peer = matmul_nbits(bits, block)
            if peer:
                calls[f"{ONNXRUNTIME}, blocks of {block}"] = partial(peer, x)
        with pinned(1):
            ms = turns(calls, seconds, CLOCKS[clock], rounds)
        found[str(bits)] = {
            "us": {name: spread([1e3 * each / LAYERS for each in values]) for name, values in ms.items()},
            "over": {name: spread(ratios(ms["dqt"], values)) for name, values in ms.items()},
        }
    return found | {"isa": run.isa}


def chain() -> Program:
    """Layers of random weights, one after the other."""
    b = Builder(1, (SIZE,), widths=tuple(sorted(BITS)))
    x = "v0"
    for _ in range(LAYERS):
        x = b.linear(x, SIZE)
    return b.build(x)


def plan(program: Program, weight: int, activation: int) -> Plan:
    """Every layer at these widths."""
    return Plan.of(dict.fromkeys(program.layers, (weight, activation)))


def matmul_nbits(bits: int, block: int) -> Run | None:
    """A chain of as many MatMulNBits; None where this build of ONNX Runtime refuses it."""
    helper, proto = import_module("onnx.helper"), import_module("onnx").TensorProto
    rng, blocks = np.random.default_rng(0), SIZE // block
    nodes, tensors = [], []
    for i in range(LAYERS):
        weight = rng.integers(0, 256, (SIZE, blocks, block * bits // 8), dtype=np.uint8)
        scale = np.full(SIZE * blocks, 2.0 ** (1 - bits) / 64, dtype=np.float32)
        tensors += [tensor(weight, f"w{i}"), tensor(scale, f"s{i}")]
        nodes.append(
            helper.make_node(
                "MatMulNBits", [f"x{i}", f"w{i}", f"s{i}"], [f"x{i + 1}"], domain="com.microsoft",
                K=SIZE, N=SIZE, bits=bits, block_size=block, accuracy_level=INT8,
            )
        )  # fmt: skip
    ends = [helper.make_tensor_value_info(f"x{i}", proto.FLOAT, [1, SIZE]) for i in (0, LAYERS)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], tensors)
    sets = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.onnx"
        path.write_bytes(helper.make_model(graph, opset_imports=sets, ir_version=10).SerializeToString())
        try:
            run = onnxruntime(path, 1)
            run(np.zeros((1, SIZE), dtype=np.float32))
        except Exception as error:  # of ONNX Runtime's own kind
            print(f"MatMulNBits of {bits} bits, blocks of {block}: {str(error).splitlines()[0][:120]}", flush=True)
            return None
    return run


def tensor(array: npt.NDArray[Any], name: str) -> Any:
    """A constant of a graph."""
    return import_module("onnx").numpy_helper.from_array(array, name)
