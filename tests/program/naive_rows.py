"""Norms and softmax of one row in Python integers, written anew from docs/numerics.md, sections 8 and 9."""

from __future__ import annotations

from functools import cache
from math import isqrt


def normalized(v: list[int], epsilon: int, fraction: int, *, center: bool) -> list[int]:
    """In units of 2^-20 (equations 22 to 24)."""
    count = len(v)
    by = 2 ** max(0, max(abs(x) for x in v).bit_length() + count.bit_length() - 30)
    v = [(x + by // 2) // by for x in v]
    total = sum(v) if center else 0
    w = count * sum(x * x for x in v) - total**2 + (count**2 * epsilon + 2**fraction // 2) // 2**fraction // by**2
    w, j = max(w, 1), 0
    while w < 2**60:
        w, j = 4 * w, j + 1
    u = w // 2**30
    r = isqrt(2**62 * 2 // ((2 * (u // 2**25) + 1) * 2**25))
    r = r * (3 * 2**31 - r * r * u // 2**31) // 2**18
    r = r * (3 * 2**31 - r * r // 2**28 * u // 2**31) // 2**32
    return [((count * x - total) * r + 2 ** (39 - j)) // 2 ** (40 - j) for x in v]


@cache
def power(i: int) -> int:
    """2^30 * 2^(-i / 1024) (equation 26)."""
    found, root = 2**30, 2**29
    for bit in (512, 256, 128, 64, 32, 16, 8, 4, 2, 1):
        root = isqrt(root * 2**30)
        if i & bit:
            found = (found * root + 2**29) // 2**30
    return found


def softmax(q: list[int], m: int, shift: int, levels: int) -> list[int]:
    """Integers in [0, levels] (equations 25 to 29)."""
    bits = 30 - len(format(len(q), "b"))
    powers = []
    for x in q:
        t = ((max(q) - x) * m * 2 + 2**shift) // 2 ** (shift + 1)
        whole, fraction = divmod(t, 1024)
        by = 2 ** min(whole + 30 - bits, 32)
        powers.append((power(fraction) + by // 2) // by)
    factor = levels * 2 ** (bits + 8) // sum(powers)
    return [(p * factor * 2 + 2 ** (bits + 8)) // 2 ** (bits + 9) for p in powers]
