"""``cost`` of whatever has plans: a prepared network, a program, or the file of one."""

from __future__ import annotations

from typing import Any

from dqt.arith import cost as arith
from dqt.arith.plan import PlanLike
from dqt.program.program import as_program


def cost(network: Any, plan: PlanLike = None) -> arith.Cost:
    """The cost of one sample of ``network`` under a static ``plan``.

    Args:
        network: a prepared net, a program, or the path of a ``.dqt`` file.
        plan: as :func:`dqt.interpret`.

    Raises:
        PlanError: the plan does not fit, or depends on the input ("auto", a cascade): use
            :func:`dqt.arith.cost.chosen_bitops` on the widths that were chosen.
        ProgramError: ``network`` is something else, or no legal file.
    """
    return arith.cost(network if hasattr(network, "space") else as_program(network), plan)
