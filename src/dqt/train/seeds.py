"""Randomness as a function of its place: every generator is derived from (seed, purpose, epoch or step, ...).

Nothing keeps a generator's state between steps, so a run that was cut off goes on with the same numbers.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derive(*parts: int | str) -> int:
    """A 63-bit seed from ``parts``; different parts give independent seeds."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded with :func:`derive`."""
    return torch.Generator().manual_seed(derive(*parts))


def permutation(count: int, *parts: int | str) -> Tensor:
    """A random order of ``0..count-1``, int64 ``[count]``."""
    return torch.randperm(count, generator=generator(*parts))


def gumbel(shape: tuple[int, ...], *parts: int | str) -> Tensor:
    """Standard Gumbel noise, float32, ``-log(-log(u))`` with ``u`` in (0, 1)."""
    uniform = torch.rand(shape, generator=generator(*parts), dtype=torch.float64)
    tiny = torch.finfo(torch.float64).tiny
    return (-(-uniform.clamp_min(tiny).log()).clamp_min(1e-12).log()).float()
