"""Integers of another scale as codes: of inputs that are integers, and of int32 outputs that are read as well.

Codes of a norm's result may have a factor for each feature. Where one is not 1, they come from the norm anew, whose
constants take the factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dqt.nn.graph import Node, norm_of
from dqt.nn.integers import rescale
from dqt.nn.operator import Operator
from dqt.nn.ops.normalize import append_normalize
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.nn.scales import Scale
from dqt.program.ops.rescale import Rescale

if TYPE_CHECKING:
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    raw, factors = ins[0].master, _factors(net, node)
    raw = raw if raw.is_floating_point() else raw.float()
    if factors is not None:
        raw = factors(raw.movedim(-1, 1), b=net.space.master).movedim(1, -1)
    return Signal(raw, net.quantizer(node), run.quantized)


def _factors(net: Net, node: Node) -> Scale | None:
    """Those of each feature, where they are not all 1."""
    found = net.affine(node.norm)
    return found if isinstance(found, Scale) and not found.trivial else None


def _emit(e: Emission, node: Node) -> None:
    factors = _factors(e.net, node)
    if factors is not None:
        norm = norm_of(e.net.nodes, node)
        assert norm is not None
        append_normalize(e, norm, node, factors)
        return
    k = rescale(e.codes(node.ins[0]), e.net.codes(node.out), np.ones(1), np.zeros(1))
    e.append(Rescale(e.source(node), e.result(node), k.m, k.c, k.shift, k.lo, k.hi))


OPERATOR = Operator(kind="requantize", fake=_fake, emit=_emit, own_quantizer=True, keeps_sign=True)
