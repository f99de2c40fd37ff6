"""A pass in which each sample takes the widths that the controller chooses for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from dqt.arith.plan import AUTO, resolve
from dqt.nn.exact import run_exact
from dqt.nn.run import Choice, Late, Run, controller_widths, edge_widths, first_widths

if TYPE_CHECKING:
    from dqt.nn.net import Net


def late_of(net: Net) -> Late | None:
    """How the controller of a network decides, if it does so late."""
    return next((Late(**node.attrs) for node in net.nodes if node.kind == "choose_late"), None)


def run_routed(
    net: Net, x: Any, temperature: float | None, noise: Tensor | None, *, exact: bool
) -> tuple[tuple[Tensor, ...], Choice]:
    """See :meth:`dqt.nn.net.Net.routed`."""
    resolve(net.space, AUTO)
    if exact:
        found = run_exact(net, x, AUTO)
        assert found.choice is not None
        return found.outputs, found.choice
    late = net.late
    widths = first_widths(net.space, late.first) if late else edge_widths(net.space) | controller_widths(net.space)
    run = Run(widths, batch_statistics=net.training, temperature=temperature, noise=noise)
    y = net.run(x, run, True)
    assert run.choice is not None
    if late is not None and late.again:  # at the width of the first run a sample gets the same once more
        y = net.run(x, Run(widths, batch_statistics=net.training, choice=run.choice), False)
    return y, run.choice
