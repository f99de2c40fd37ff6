"""Every model that is tried, by name: ``source/name``."""

from __future__ import annotations

from bench.models import zoo
from bench.models.networks import attention, held, sequences, tables, transformers, vision
from bench.models.networks.common import Maker


def models() -> dict[str, Maker]:
    """Those that the library is worked on with."""
    written = {
        f"written/{each.__name__}": each for part in (vision, sequences, tables, attention) for each in part.NETWORKS
    }
    return zoo.models() | {f"transformers/{name}": each for name, each in transformers.MODELS.items()} | written


def held_out() -> dict[str, Maker]:
    """Those that it is not: they are run once, when the work is done."""
    written = {f"written/{each.__name__}": each for each in held.NETWORKS}
    return zoo.held() | {f"transformers/{name}": each for name, each in transformers.HELD.items()} | written
