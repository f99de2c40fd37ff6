"""Labels as torch's cross entropy takes them, or one error that says which label of which sample is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dqt.arith.labels import class_labels
from dqt.data.errors import DataError
from dqt.nn.net import Net
from dqt.train.sources import Held, Source


def labels_for(net: Net, given: Any, count: int, samples: Sequence[int] | Tensor | None = None) -> Tensor:
    """``given`` as the int64 labels ``[N]`` of ``count`` samples for the outputs of ``net``.

    See :func:`dqt.arith.labels.class_labels`: this is that function for tensors, where they lie.

    Raises:
        DataError: labels that do not fit, or a network whose output is not one score for each class.
    """
    output = net.nodes[-1].shape
    if not output or output[0] < 2:
        raise DataError(
            f"the network gives {['N', *output]}: cross entropy needs [N, classes] with two classes or more; "
            "for another loss write a loop of your own (docs/guide/your-loop.md)"
        )
    return _checked(given, (count, *output[1:]), output[0], samples)


def check_held(net: Net, source: Source) -> None:
    """Look at all labels of data in memory before training begins. Errors as :func:`labels_for`."""
    if isinstance(source, Held):
        labels_for(net, source.labels, len(source))


def labels_like(logits: Tensor, given: Any) -> Tensor:
    """``given`` as the int64 labels ``[N]`` of ``logits`` ``[N, classes]``. Errors as :func:`labels_for`."""
    return _checked(given, (len(logits),), logits.shape[1], None)


def _checked(given: Any, shape: tuple[int, ...], classes: int, samples: Sequence[int] | Tensor | None) -> Tensor:
    if isinstance(given, Tensor) and given.dtype == torch.int64 and tuple(given.shape) == shape:
        least, most = torch.stack(given.aminmax()).tolist()  # the usual case: one look, where the labels are
        if least >= 0 and most < classes:
            return given
    values = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
    places = samples.tolist() if isinstance(samples, Tensor) else samples
    made = torch.from_numpy(class_labels(values, shape, classes, error=DataError, samples=places))
    return made.to(given.device) if isinstance(given, Tensor) else made
