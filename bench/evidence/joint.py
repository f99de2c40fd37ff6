"""The network of wide layers with a second classifier behind its first stage, to train with a late decision in view.

A late controller reads the margins of the second classifier and chooses the widths of the second stage. Training
minimizes the losses of both classifiers. The controller's pass runs what precedes the decision at a fixed width and the
rest at a width that is nearly random at first (Gumbel noise), so that the network learns to serve any of them.

    python -m bench.evidence.joint --data DIR [--runs runs/evidence]

fits the second classifier to the float network's features, adds it to the network of the run ``wide``, and writes the
checkpoint wide-second/last.ckpt, from which the recipe wide-joint starts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import dqt
from bench.common import CIFAR10, parser
from dqt.arith.margin import Margin
from dqt.train.checkpoint import LAST, Checkpoint
from dqt.train.data import load
from dqt.train.models import WideNet

MAIN, SECOND = "logits", "second"
FLOAT, START, BEGUN = "cifar10-wide.safetensors", "wide-s0", "wide-second"
PLANES, BLOCKS, GRID, CLASSES = (64, 128, 192), (1, 1), 2, 10
CONTROLLER = dqt.Controller(choices=(2, 3, 4, 8), after="second", reads=("margin",), margins=3, first=3, hidden=32)
WEIGHT, TEMPERATURE = 0.3, 2.0
"""Of the second classifier's loss; of the softmax of an answer and its teacher."""
IMAGES, BATCH, STEPS, DECAY = 10_000, 250, 100, 1e-3
"""What the second classifier is fitted to before training."""


class TwoAnswers(WideNet):
    """``dqt.train.models:wide_cnn`` that answers twice: ``{"logits": [N, 10], "second": [N, 10]}``."""

    def __init__(self) -> None:
        super().__init__(PLANES, BLOCKS, classes=CLASSES)
        self.second = nn.Linear(GRID * GRID * PLANES[1], CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """Means of the first stage over a grid, ``[N, 512]``."""
        return self._pooled(self.layer1(self.stem(x)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        """Logits of images ``[N, 3, 32, 32]``."""
        inner = self.layer1(self.stem(x))
        # First, so that its pooling has the name that it has in a network without the second classifier.
        logits = self.linear(F.adaptive_avg_pool2d(self.layer2(inner), 1).flatten(1))
        return {MAIN: logits, SECOND: self.second(self._pooled(inner))}

    def _pooled(self, inner: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(inner, GRID).flatten(1)


def task() -> dqt.Task:
    """Classification by the first answer, whose loss counts the second one, too."""
    return replace(
        dqt.Task.classification(MAIN), loss=_loss, divergence=_divergence, margin=Margin(output=MAIN), spec=None
    )


def _loss(answers: dict[str, Tensor], labels: Tensor) -> Tensor:
    lost = [F.cross_entropy(answers[name].float(), labels, reduction="none") for name in (MAIN, SECOND)]
    return lost[0] + WEIGHT * lost[1]


def _divergence(answers: dict[str, Tensor], teacher: Any) -> Tensor:
    """Of both answers from the one of a teacher that has one."""
    goal = F.log_softmax((teacher[MAIN] if isinstance(teacher, dict) else teacher).float() / TEMPERATURE, 1)
    apart = [
        F.kl_div(F.log_softmax(answers[name].float() / TEMPERATURE, 1), goal, reduction="batchmean", log_target=True)
        for name in (MAIN, SECOND)
    ]
    return TEMPERATURE**2 * (apart[0] + WEIGHT * apart[1])


def begun(model: TwoAnswers, x: Tensor, labels: Tensor) -> None:
    """Fit the second classifier to ``model``'s own features of ``x``, which stay as they are."""
    model.eval()
    with torch.no_grad():
        features = torch.cat([model.features(part) for part in torch.split(x, BATCH)])
    head = model.second
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def lost() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(head(features), labels) + DECAY * head.weight.square().sum()
        torch.autograd.backward(loss)
        return loss

    optimizer.step(lost)  # type: ignore[no-untyped-call]
    right = float((head(features).argmax(1) == labels).float().mean())
    print(f"the second classifier is right about {100 * right:.1f} % of {len(x)} training images")


def with_second(model: TwoAnswers, start: Checkpoint, batches: list[Tensor]) -> Checkpoint:
    """The checkpoint with the ranges of the second classifier and of the controller added to its network."""
    config = dqt.Config(norm="per_width", controller=CONTROLLER)
    net = dqt.calibrate(dqt.prepare(model, batches[0][:2], config), batches)
    state = net.state_dict()
    assert set(start.net) <= set(state), set(start.net) - set(state)
    return replace(start, net=state | start.net)


def main() -> None:
    """Write the checkpoint that training starts from."""
    options = parser(__doc__, data=True)
    options.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="holds the folder of the run wide")
    arguments = options.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = TwoAnswers()
    missing = model.load_state_dict(load_file(arguments.data / FLOAT), strict=False).missing_keys
    assert set(missing) == {"second.weight", "second.bias"}, missing
    train = load(f"cifar10={arguments.data / CIFAR10}", valid=5000).train
    x, labels = train.batch(torch.arange(IMAGES))
    begun(model, x, labels)
    made = with_second(model, Checkpoint.load(arguments.runs / START / LAST), list(torch.split(x[: 4 * BATCH], BATCH)))
    (arguments.runs / BEGUN).mkdir(exist_ok=True)
    made.save(arguments.runs / BEGUN / LAST)


if __name__ == "__main__":
    main()
