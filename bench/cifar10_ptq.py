"""Post-training quantization of ResNet-20 on CIFAR-10: accuracy of the integer program, and train = serve.

No training: the float weights, ranges and bias corrections from 512 training images, then all 10,000 test images
through ``dqt.interpret`` at each width.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import dqt
from bench.common import CIFAR10, Check, parser, weights_of, write
from dqt.nn.graph import INPUT
from dqt.nn.net import Net
from dqt.nn.operators import Run
from dqt.nn.ranges import Signal
from dqt.program.interpret import execute
from dqt.program.program import Program
from dqt.train.build import float_model
from dqt.train.data import DataSet, load
from dqt.train.recipe import ModelPart

WIDTHS = (8, 7, 6, 5, 4, 3, 2)
IMAGES, BATCH, OTHER_SETS, LAYER_IMAGES = 512, 128, 2, 256
BELOW_FLOAT = {8: 0.3, 6: 0.7, 5: 1.0}
AT_LEAST = {4: 88.0, 3: 80.0}
AGREE = {8: 99.9, 7: 99.9, 6: 99.9, 5: 99.9, 4: 99.9, 3: 99.5, 2: 99.5}


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__, data=True)
    options.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch; interpret has its own")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    splits = load(f"cifar10={arguments.data / CIFAR10}")
    model = float_model(ModelPart(factory="dqt.train.models:resnet20", weights=str(weights_of(arguments)))).eval()
    x, labels = splits.test.inputs(), splits.test.labels
    reference = top1(in_batches(model, x), labels)
    print(f"float: {reference:.2f} %", flush=True)

    prepared = dqt.prepare(model, x[:2])
    images = splits.train.inputs(slice(0, IMAGES))
    net, seconds = calibrated(prepared, images)
    program = dqt.lower(net, info=splits.test.info)
    print(f"calibrated on {IMAGES} images in {seconds:.1f} s", flush=True)
    rows = {str(b): row(net, program, x, labels, b) for b in WIDTHS}
    layers = {str(b): layer_differences(net, program, x[:LAYER_IMAGES], b) for b in WIDTHS}
    spread = other_sets(prepared, splits.train, x, labels)
    results = {
        "float_top1": reference,
        "calibration_seconds": seconds,
        "program_bytes": file_size(program),
        "widths": rows,
        "layers_fed_the_same_codes": layers,
        "other_calibration_sets": spread,
    }
    settings = {
        "calibration_images": IMAGES,
        "batch": BATCH,
        "test_images": len(x),
        "observer": "mse",
        "torch_threads": arguments.threads,
    }
    write("cifar10_ptq", settings=settings, results=results, checks=checks(results))


def calibrated(net: Net, images: Tensor) -> tuple[Net, float]:
    """``net`` calibrated in place, and how long it took."""
    start = time.perf_counter()
    dqt.calibrate(net, torch.split(images, BATCH))
    return net.eval(), round(time.perf_counter() - start, 2)


@torch.no_grad()
def in_batches(run: Any, x: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
    """``run`` over ``x`` in batches of 500."""
    return torch.cat([run(part, *arguments, **keywords) for part in torch.split(x, 500)])


def top1(logits: Tensor | npt.NDArray[np.float32], labels: Tensor) -> float:
    """Top-1 in percent."""
    answers = torch.as_tensor(logits).argmax(1)
    return round(100 * float((answers == labels).double().mean()), 2)


def row(net: Net, program: Program, x: Tensor, labels: Tensor, b: int) -> dict[str, Any]:
    """One width: accuracies, how long the test set took, and whether what trains is what serves."""
    start = time.perf_counter()
    served = dqt.interpret(program, x, b)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    exact = in_batches(net, x, b, exact=True)
    exact_seconds = time.perf_counter() - start
    trained = in_batches(net, x, b)
    cost = dqt.cost(program, b)
    found = {
        "top1_integer": top1(served, labels),
        "top1_trained": top1(trained, labels),
        "exact_equals_interpret": bool(np.array_equal(served, exact.numpy())),
        "top1_agreement": 100 * float((trained.argmax(1) == torch.from_numpy(served).argmax(1)).double().mean()),
        "interpret_seconds": round(seconds, 1),
        "exact_seconds": round(exact_seconds, 1),
        "bitops": cost.bitops,
        "share": round(cost.share, 5),
    }
    print(f"{b} bits: {found}", flush=True)
    return found


@torch.no_grad()
def layer_differences(net: Net, program: Program, x: Tensor, b: int) -> dict[str, Any]:
    """Feed every operator the program's own codes; how often its differentiable form gives another code."""
    values = execute(program, x, b, keep=True).values
    run = Run(dict(widths_of(net, b)))
    elements = differing = largest = 0
    by_layer: dict[str, float] = {}
    for step in net.steps:
        edge = net.edge(step)
        if edge is None or step.edge == "same":
            continue
        ins = [signal(net, name, values) for name in step.ins]
        codes = net.fake_step(step, ins, run).codes(net.space.master).int() + edge.zero
        gap = (codes - torch.from_numpy(values[step.out].astype(np.int32))).abs()
        elements, differing = elements + gap.numel(), differing + int((gap > 0).sum())
        largest = max(largest, int(gap.max()))
        by_layer[step.out] = float(f"{float((gap > 0).double().mean()):.3g}")
    worst = max(by_layer, key=by_layer.__getitem__)
    return {
        "largest_difference": largest,
        "share_differing": float(f"{differing / elements:.3g}"),
        "worst": {"operator": worst, "share_differing": by_layer[worst]},
        "images": len(x),
    }


def widths_of(net: Net, b: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Layer and pair of widths of the uniform plan."""
    for layer in net.space.layers:
        width = net.space.edge_width if layer.edge else b
        yield layer.name, (width, width)


def signal(net: Net, name: str, values: Any) -> Signal:
    """The program's codes of a value, as the differentiable network sees them."""
    edge = net.edge_of(name)
    codes = torch.from_numpy(values["input.codes" if name == INPUT else name].astype(np.float32))
    return Signal((codes - edge.zero) * edge.step(), edge)


def other_sets(prepared: Net, train: DataSet, x: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    """The spread: top-1 of the served integers when other sets of 512 images give the ranges."""
    found = []
    for i in range(1, OTHER_SETS + 1):
        net, seconds = calibrated(prepared, train.inputs(slice(i * IMAGES, (i + 1) * IMAGES)))
        program = dqt.lower(net)
        by_width = {str(b): top1(dqt.interpret(program, x, b), labels) for b in WIDTHS}
        found.append({"first_image": i * IMAGES, "calibration_seconds": seconds, "top1_integer": by_width})
        print(f"from images {i * IMAGES}..: {by_width} in {seconds} s", flush=True)
    return found


def file_size(program: Program) -> int:
    """Bytes of the ``.dqt`` file."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.dqt"
        program.save(path)
        return path.stat().st_size


def checks(results: dict[str, Any]) -> list[Check]:
    """The targets."""
    rows, reference = results["widths"], results["float_top1"]
    made = [Check("seconds to calibrate on 512 images", results["calibration_seconds"], "<=", 20)]
    for b, points in BELOW_FLOAT.items():
        made.append(
            Check(f"points below float at {b} bits", round(reference - rows[str(b)]["top1_integer"], 2), "<=", points)
        )
    made += [Check(f"top-1 at {b} bits", rows[str(b)]["top1_integer"], ">=", least) for b, least in AT_LEAST.items()]
    made += [
        Check(f"top-1 agreement at {b} bits", rows[str(b)]["top1_agreement"], ">=", least) for b, least in AGREE.items()
    ]
    equal = sum(rows[str(b)]["exact_equals_interpret"] for b in WIDTHS)
    made.append(Check("widths at which exact equals interpret to the bit, of 7", equal, ">=", len(WIDTHS)))
    largest = max(entry["largest_difference"] for entry in results["layers_fed_the_same_codes"].values())
    made.append(Check("largest difference of one operator's codes", largest, "<=", 1))
    slowest = max(rows[str(b)]["interpret_seconds"] for b in WIDTHS)
    made.append(Check("seconds for the test set through interpret, slowest width", slowest, "<=", 300))
    return made


if __name__ == "__main__":
    main()
