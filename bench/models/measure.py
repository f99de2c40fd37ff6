"""One model, from the float module to integers, in a process of its own: ``python -m bench.models.measure NAME``."""

from __future__ import annotations

import json
import re
import resource
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import dqt
from bench.models.catalog import held_out, models
from bench.models.networks.common import Case
from dqt.testing.networks import unsettle

WIDTHS, PLANS = (2, 4, 8), (8, 4)
DIGITS = 4
"""Of a cosine in a record."""


class Row:
    """What is known of a model so far; printed after each stage, so that a killed process has said where it was."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A part of the way; its seconds, ``NAME_s``, are those of the processor: other work on the machine is none."""
        self.found["stage"] = name
        self.show()
        began = process_time()
        yield
        self.found[f"{name}_s"] = round(process_time() - began, 2)

    def show(self) -> None:
        """Print it as it is."""
        self.found["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        print(json.dumps(self.found), flush=True)


def main(name: str) -> None:
    """Measure a model, print its row."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    row = Row()
    try:
        run(row, (models() | held_out())[name])
        row.found["stage"] = "through"
    except (dqt.UnsupportedError, dqt.ProgramError, dqt.InputError) as error:
        row.found["obstacles"] = kinds(error)
    except Exception as error:  # whatever stops a model belongs into its row
        row.found["obstacles"] = [f"{type(error).__name__}: {error}"[:300]]
        row.found["crashed"] = True
    row.show()


def kinds(error: Exception) -> list[str]:
    """Every kind of obstacle once, with the first place of each; paths of this machine are left out."""
    found: dict[tuple[str, str], str] = {}
    for each in getattr(error, "obstacles", ()):
        where = f"{each.operator} in {each.module} " if each.operator else ""
        found.setdefault((each.operator, each.why), f"{where}{each.why} {each.line}".strip())
    return [re.sub(r"/\S*/(site-packages/|(?=\w+\.py))", "", said) for said in found.values() or [str(error)]]


def run(row: Row, make: Callable[[], Case]) -> None:
    """The way of a model."""
    torch.manual_seed(0)
    with row.stage("float"), torch.no_grad():
        case = make()
        unsettle(case.model.eval())
        expected = [leaf.float().numpy() for leaf in tree_leaves(case.model(*case.inputs)) if isinstance(leaf, Tensor)]
    row.found["parameters"] = sum(p.numel() for p in case.model.parameters())
    example: Any = case.inputs[0] if len(case.inputs) == 1 else case.inputs
    with row.stage("prepare"):
        net = dqt.prepare(case.model, example, dqt.Config(widths=WIDTHS)).eval()
    row.found["layers"] = len(net.layers)
    with row.stage("calibrate"):
        dqt.calibrate(net, [example])
    with row.stage("lower"):
        program = dqt.lower(net)
    row.found["operators"] = len(program.ops)
    compare(row, net, program, example, expected)


def compare(row: Row, net: Any, program: Any, example: Any, expected: list[Any]) -> None:
    """The integers of all three ways to run it, and what they are beside float."""
    given = example.numpy() if isinstance(example, Tensor) else tuple(x.numpy() for x in example)
    with row.stage("compile"):
        runtime = dqt.Runtime(program, threads=1)
    for bits in PLANS:
        with row.stage(f"interpret_{bits}"):
            normative = _arrays(dqt.interpret(program, given, bits))
        with row.stage(f"run_{bits}"):
            engine = _arrays(runtime(given, bits))
        with row.stage(f"exact_{bits}"), torch.no_grad():
            exact = _arrays(net(example, bits, exact=True))
        row.found[f"cosine_{bits}"] = round(min(map(cosine, normative, expected)), DIGITS)
        if not (_equal(normative, engine) and _equal(normative, exact)):
            raise AssertionError(f"at {bits} bits the three ways differ: {len(normative)} outputs")


def _arrays(result: Any) -> list[Any]:
    """The outputs of a run in order, whatever they come in."""
    if isinstance(result, Mapping):
        return [array for each in result.values() for array in _arrays(each)]
    return [np.asarray(leaf) for leaf in tree_leaves(result) if isinstance(leaf, Tensor | np.ndarray)]


def _equal(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def cosine(a: Any, b: Any) -> float:
    """Of two arrays as vectors."""
    u, v = (each.astype(np.float64).ravel() for each in (a, b))
    return float(u @ v / max(np.linalg.norm(u) * np.linalg.norm(v), 1e-30))


if __name__ == "__main__":
    main(sys.argv[1])
