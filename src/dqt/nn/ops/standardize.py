"""What a float input is multiplied by, and what is added, before it becomes codes: a batch norm, or constants.

``code = rint(x * gain / scale + bias / scale) + zero``: both are numbers of the input's own quantizer, one for each
channel, so columns of different units have all codes each, and the integers begin behind the norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dqt.nn.graph import Node
from dqt.nn.operator import Operator
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.ops.quantize import Quantize

if TYPE_CHECKING:
    from dqt.nn.emission import Emission
    from dqt.nn.net import Net

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Standardized:
    """``gain * x + bias`` of an input, float64 ``[1]`` or one number for each entry of ``axis`` after the batch."""

    input: str
    gain: Floats
    bias: Floats
    axis: int

    def then(self, gain: Floats, bias: Floats, axis: int) -> Standardized:
        """This, and ``gain * x + bias`` after it. One of the two is of one number, or both have one axis."""
        kept = axis if len(gain) > 1 or len(self.gain) == 1 else self.axis
        gains, biases = np.broadcast_arrays(gain * self.gain, gain * self.bias + bias)
        return Standardized(self.input, gains, biases, kept)


def _fake(net: Net, node: Node, ins: Sequence[Signal], run: Run) -> Signal:
    norm = net.affine(node.norm)
    assert norm is not None
    axis = 1 + node.attrs["axis"]
    x = ins[0].raw.float().movedim(axis, 1)
    y = norm(x, b=net.space.master, batch_statistics=run.batch_statistics)
    return Signal(y.movedim(1, axis), net.quantizer(node), run.quantized)


def _emit(e: Emission, node: Node) -> None:
    norm = e.net.affine(node.norm)
    assert norm is not None
    (name,) = node.ins
    gain, bias = (v.detach().cpu().double().numpy() for v in norm.gain_and_bias(e.net.space.master))
    before = e.standardized.get(name) or Standardized(name, np.ones(1), np.zeros(1), 0)
    whole = before.then(gain, bias, node.attrs["axis"])
    if node.quantizer == "float":
        e.standardized[node.out] = whole
        return
    codes = e.net.codes(node.out)
    with np.errstate(over="ignore"):  # the verifier says that a number is not finite
        gain, bias = (np.asarray(part / codes.scale, dtype=np.float32) for part in (whole.gain, whole.bias))
    e.append(Quantize(whole.input, e.result(node), gain, bias, whole.axis))


OPERATOR = Operator(kind="standardize", fake=_fake, emit=_emit)
