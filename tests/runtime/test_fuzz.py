"""Some of the random cases of ``python -m tests.runtime.fuzz``, and what their batches hold."""

from __future__ import annotations

import itertools

import pytest

from dqt.runtime.runtime import kernel_sets
from tests.runtime.fuzz import KINDS, MODEL, MODELS, Seen, compare, other_kind, trial

FIRST, SEEDS, SOME = 60, 105, 15
ALL = 10**9


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, SOME))
def test_every_kernel_set_gives_the_interpreters_integers(first: int) -> None:
    seen = Seen()
    for _ in compare(range(first, first + SOME), ALL, seen):
        pass
    assert [str(case) for case in seen.unequal] == []
    assert set(seen.cases) == {*itertools.product(kernel_sets(), KINDS), ("torch", MODEL)}
    models, runs = SOME // MODELS, len(kernel_sets()) * 2  # on one thread and two
    trials = SOME - 2 * models  # the rest: models, and as many transformers
    assert seen.count() == trials * runs * 3 + models * (1 + runs) + models * runs  # of three plans each
    assert seen.batches >= trials // 2, "hardly a batch whose samples chose different widths"
    assert seen.passes >= trials // 5, "hardly a cascade that some samples left before others"


def test_the_batches_mix_every_pair_of_widths() -> None:
    """Those of the comparison above, in which two of five seeds are other kinds of programs."""
    seen = Seen()
    for seed in range(FIRST, FIRST + SEEDS):
        if other_kind(seed) is None:
            seen.trial(trial(seed))
    assert set(itertools.combinations(range(2, 9), 2)) <= set(seen.mixed)
    assert set(itertools.product(range(2, 9), repeat=2)) <= set(seen.pairs)
