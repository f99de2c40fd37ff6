"""Narrowing against quantizing again, integer operators against real ones, and what the power-of-two rule costs.

The record is printed in docs/experiments.md.
"""

from __future__ import annotations

from bench.common import CIFAR10, Check, parser, weights_of, write


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__, data=True)
    options.add_argument("--threads", type=int, default=1, help="of torch")
    arguments = options.parse_args()
    import torch

    from bench.operators import ablation, errors, shifts

    torch.set_num_threads(arguments.threads)
    found = {
        "shift": shifts.measure(),
        "integer": errors.measure(),
        "ablation": ablation.measure(arguments.data / CIFAR10, weights_of(arguments)),
    }
    settings = {"shift": shifts.SETTINGS, "integer": errors.SETTINGS, "ablation": ablation.SETTINGS}
    settings["torch"] = {"threads": arguments.threads}
    checks: list[Check] = [*shifts.checks(found["shift"]), *errors.checks(found["integer"])]
    write("operators", settings=settings, results=found, checks=checks)


if __name__ == "__main__":
    main()
