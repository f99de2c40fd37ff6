"""Which operators an engine computes as the interpreter does: each instruction of random programs, alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.onnx.alone import Case, cases
from bench.onnx.engines import ENGINES
from dqt.program.program import Program
from dqt.testing import random_model, random_program, random_transformer


def programs(seeds: int) -> Iterator[tuple[int, Program]]:
    """Random programs of every operator; of each kind so many."""
    for seed in range(seeds):
        yield seed, random_program(seed, auto=seed % 3 == 0)
        yield seed, random_transformer(seed, auto=seed % 3 == 0)
        yield seed, random_model(seed, auto=seed % 3 == 0)


def by_operator(seeds: int) -> dict[str, Any]:
    """Operator -> engine -> how many cases are equal, differ in some integer, or are refused, and the first refusal."""
    counts: dict[str, dict[str, Counter[str]]] = {}
    said: dict[str, dict[str, str]] = {}
    for seed, program in programs(seeds):
        for case in cases(program, seed):
            for engine in ENGINES:
                found, words = judged(engine, case)
                counts.setdefault(case.operator, {}).setdefault(engine, Counter())[found] += 1
                if words:
                    said.setdefault(case.operator, {}).setdefault(engine, words)
        print(f"{seed}: {sum(sum(each['openvino'].values()) for each in counts.values())} cases", flush=True)
    return {
        name: {engine: dict(found) | _first(said, name, engine) for engine, found in sorted(engines.items())}
        for name, engines in sorted(counts.items())
    }


def _first(said: dict[str, dict[str, str]], name: str, engine: str) -> dict[str, str]:
    words = said.get(name, {}).get(engine)
    return {"said": words} if words else {}


def judged(engine: str, case: Case) -> tuple[str, str]:
    """Whether it is equal, differs or is refused, and what the engine said when it refused."""
    try:
        answers = ENGINES[engine](case.model, case.feed)
    except Exception as error:  # each engine has errors of its own
        return "refused", str(error).strip().splitlines()[-1][:160]
    pairs = (pair for answer in answers for pair in zip(answer, case.wanted.values(), strict=True))
    same = all(np.array_equal(given, wanted) for given, wanted in pairs)
    return ("equal" if same else "differs"), ""
