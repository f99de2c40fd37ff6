"""Integer-only addition and multiplication of affine codes, nested dot product (docs/numerics.md, 2 and 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dqt.arith.fixed import choose_shift, multiplier, offset
from dqt.arith.nested import Integers, shift_of


@dataclass(frozen=True)
class AddConstants:
    """``q1 (+) q2 = clamp((k1*q1 + k2*q2 + k3) >> shift)`` (equation 11). k1, k2 int32; k3 int64."""

    k1: int
    k2: int
    k3: int
    shift: int


@dataclass(frozen=True)
class MultiplyConstants:
    """``q1 (x) q2 = clamp((k1*q1*q2 + k2*q1 + k3*q2 + k4) >> shift)`` (equation 12)."""

    k1: int
    k2: int
    k3: int
    k4: int
    shift: int


def add_constants(step1: float, zero1: int, step2: float, zero2: int, step: float, zero: int) -> AddConstants:
    """Constants of (+) for operands ``step_i * (q_i - zero_i)`` and result ``step * (q - zero)`` (equation 11)."""
    scales = np.array([step1 / step, step2 / step])
    shift = choose_shift(scales)
    k1, k2 = (int(k) for k in multiplier(scales, shift))
    return AddConstants(k1, k2, int(offset(0.0, zero, shift)) - k1 * zero1 - k2 * zero2, shift)


def multiply_constants(step1: float, zero1: int, step2: float, zero2: int, step: float, zero: int) -> MultiplyConstants:
    """Constants of (x), same reading as :func:`add_constants` (equation 12)."""
    scale = step1 * step2 / step
    shift = choose_shift(scale)
    k1 = int(multiplier(scale, shift))
    return MultiplyConstants(k1, -k1 * zero2, -k1 * zero1, k1 * zero1 * zero2 + int(offset(0.0, zero, shift)), shift)


def add(q1: Integers, q2: Integers, k: AddConstants, lo: int, hi: int) -> Integers:
    """``q1 (+) q2`` on 64-bit integers, clamped to ``[lo, hi]`` (equation 11)."""
    return ((q1 * k.k1 + q2 * k.k2 + k.k3) >> k.shift).clip(lo, hi)


def multiply(q1: Integers, q2: Integers, k: MultiplyConstants, lo: int, hi: int) -> Integers:
    """``q1 (x) q2`` on 64-bit integers, clamped to ``[lo, hi]`` (equation 12)."""
    return ((q1 * q2 * k.k1 + q1 * k.k2 + q2 * k.k3 + k.k4) >> k.shift).clip(lo, hi)


def dot_from_codes(
    cw: npt.NDArray[np.int64], cx: npt.NDArray[np.int64], *, n: int, bw: int, ba: int, z: int
) -> npt.NDArray[np.int64]:
    """``sum T(w) * (T(x) - z)`` computed from b-bit codes, shifts and sums alone (equation 7).

    What a kernel that works on codes must return: ``2^(sw+sa) * sum cw*cx`` and the corrections of the midpoint
    and the zero point.

    Args:
        cw: weight codes ``q >> sw``, ``[..., K]`` in ``[-2^(bw-1), 2^(bw-1) - 1]``; index along K is the channel.
        cx: activation codes ``[..., K]`` in ``[0, 2^ba - 1]``.
        n: master width; ``bw``, ``ba`` the two widths; ``z`` the activation's zero point in master units.

    Returns:
        int64 ``[...]``, in the unit (weight step * activation step) of the master.
    """
    sw, sa = shift_of(n, bw), shift_of(n, ba)
    taps, odd_taps = cw.shape[-1], cw.shape[-1] // 2
    centre = (1 << sw) >> 1
    acc = (np.sum(cw * cx, axis=-1) << (sw + sa)) - ((z * np.sum(cw, axis=-1)) << sw)
    if sw == 0:
        return acc
    midpoints = ((centre * np.sum(cx, axis=-1)) << sa) - (np.sum(cx[..., 1::2], axis=-1) << sa)
    constant = z * (taps * centre - odd_taps)
    result: npt.NDArray[np.int64] = acc + midpoints - constant
    return result


def real(q: Any, step: float, zero: int) -> Any:
    """``step * (q - zero)``: what a code stands for (equation 2). For documents and tests; no program computes it."""
    return step * (np.asarray(q, dtype=np.float64) - zero)
