"""Questions that torch's own modules ask of numbers, which an export does not have: answered without them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn.modules import transformer


@contextmanager
def answered() -> Iterator[None]:
    """While it is entered, ``nn.Transformer`` in this thread does not look whether a mask is causal.

    It would be told so only to choose a faster kernel: the mask itself holds either way.
    """
    asked, here = transformer._detect_is_causal_mask, threading.get_ident()

    def known(mask: Any, is_causal: bool | None = None, size: int | None = None) -> bool:
        return is_causal is True if threading.get_ident() == here else asked(mask, is_causal, size)

    transformer._detect_is_causal_mask = known
    try:
        yield
    finally:
        transformer._detect_is_causal_mask = asked
