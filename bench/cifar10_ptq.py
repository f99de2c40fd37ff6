"""ResNet-20 on CIFAR-10 without training: accuracy of the integer program, and its equality with the torch network.

Ranges and bias corrections come from 512 training images. All 10,000 test images then run through ``dqt.interpret`` at
each width.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import dqt
from bench.common import CIFAR10, REPORT, RESULTS, Check, parser, rows, weights_of, write
from dqt.arith.files import write_file
from dqt.arith.plan import uniform as uniform_plan
from dqt.nn.graph import INPUT
from dqt.nn.net import Net
from dqt.nn.ranges import Signal
from dqt.nn.run import Run
from dqt.program.interpret import execute
from dqt.program.program import Program
from dqt.report.collect import results_of
from dqt.report.results import Results, Row
from dqt.train.build import float_model
from dqt.train.data import DataSet, Splits, load
from dqt.train.recipe import ModelPart
from dqt.train.search import sensitivity, solve

WIDTHS = (8, 7, 6, 5, 4, 3, 2)
IMAGES, BATCH, OTHER_SETS, LAYER_IMAGES, SEARCHED = 512, 128, 2, 256, 256
LIKE = (4, 3)
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

    net, seconds = calibrated(dqt.prepare(model, x[:2]), splits.train.inputs(slice(0, IMAGES)))
    program = dqt.lower(net, info=splits.test.info)
    print(f"calibrated on {IMAGES} images in {seconds:.1f} s", flush=True)
    results: dict[str, Any] = {
        "float_top1": reference,
        "calibration_seconds": seconds,
        "program_bytes": file_size(program),
        "layers_fed_the_same_codes": {str(b): layer_differences(net, program, x[:LAYER_IMAGES], b) for b in WIDTHS},
        "widths": {str(b): row(net, program, x, labels, b) for b in WIDTHS},
        "plans": searched(net, program, splits, x, labels),
    }
    write_file(
        RESULTS / REPORT, rows(report_of(program, results, len(x)).model_dump(mode="json", exclude_none=True)), "\n"
    )
    settings: dict[str, Any] = {
        "calibration_images": IMAGES,
        "search_images": SEARCHED,
        "batch": BATCH,
        "test_images": len(x),
    }
    settings |= {"observer": "mse", "torch_threads": arguments.threads}
    write("cifar10_ptq", settings=settings, results=results, checks=checks(results))
    results["other_calibration_sets"] = other_sets(net, splits.train, x, labels)
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


def row(net: Net, program: Program, x: Tensor, labels: Tensor, b: int | dqt.Plan) -> dict[str, Any]:
    """One width or plan: accuracies, how long the test set took, and whether what trains is what serves."""
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
        "top1_agreement": top1(trained, torch.from_numpy(served).argmax(1)),
        "interpret_seconds": round(seconds, 1),
        "exact_seconds": round(exact_seconds, 1),
        "bitops": cost.bitops,
        "share": round(cost.share, 5),
    }
    print(f"{b if isinstance(b, int) else 'a plan'}: {found}", flush=True)
    return found


def searched(net: Net, program: Program, splits: Splits, x: Tensor, labels: Tensor) -> dict[str, Any]:
    """Plans by layer at the BitOPs of uniform widths, from images without labels."""
    images = torch.split(splits.train.inputs(slice(0, SEARCHED)), BATCH)
    measured = sensitivity(net, images)
    found = {}
    for b in LIKE:
        plan = solve(measured, net.space, bitops=dqt.cost(net, b).share)
        found[f"plan, as {b} bits"] = row(net, program, x, labels, plan) | {
            "plan": {k: list(v) for k, v in plan.items()}
        }
    return found


def report_of(program: Program, results: dict[str, Any], samples: int) -> Results:
    """The rows as ``dqt report`` reads them."""
    rows = []
    for label, found in {**results["widths"], **results["plans"]}.items():
        uniform = label.isdigit()
        widths = uniform_plan(program.space, int(label)) if uniform else dqt.Plan.of(found["plan"])
        rows.append(
            Row(
                label=f"{label} bits" if uniform else label,
                kind="uniform" if uniform else "plan",
                bits=int(label) if uniform else None,
                widths={name: (float(bw), float(ba)) for name, (bw, ba) in widths.items()},
                accuracy_trained=found["top1_trained"] / 100,
                accuracy_integer=found["top1_integer"] / 100,
                agreement=found["top1_agreement"] / 100,
                bitops=found["bitops"],
                share=found["share"],
            )
        )
    name, data, size = "ResNet-20 without training", "the CIFAR-10 test set", results["program_bytes"]
    return results_of(program, rows, name=name, data=data, samples=samples, model_bytes=size, auto=None)


@torch.no_grad()
def layer_differences(net: Net, program: Program, x: Tensor, b: int) -> dict[str, Any]:
    """Feed every operator the program's own codes; how often its differentiable form gives another code."""
    values = execute(program, x, b, keep=True).values
    run = Run(dict(uniform_plan(net.space, b)))
    elements = differing = largest = 0
    by_layer: dict[str, float] = {}
    for node in net.nodes:
        quantizer = net.quantizer(node)
        if quantizer is None or node.quantizer == "same":
            continue
        ins = [signal(net, name, values) for name in node.ins]
        codes = net.fake_node(node, ins, run).codes(net.space.master).int() + quantizer.zero
        gap = (codes - torch.from_numpy(values[node.out].astype(np.int32))).abs()
        elements, differing = elements + gap.numel(), differing + int((gap > 0).sum())
        largest = max(largest, int(gap.max()))
        by_layer[node.out] = float(f"{float((gap > 0).double().mean()):.3g}")
    worst = max(by_layer, key=by_layer.__getitem__)
    return {
        "largest_difference": largest,
        "share_differing": float(f"{differing / elements:.3g}"),
        "worst": {"operator": worst, "share_differing": by_layer[worst]},
        "images": len(x),
    }


def signal(net: Net, name: str, values: Any) -> Signal:
    """The program's codes of a value, as the differentiable network sees them."""
    quantizer = net.quantizer_of(name)
    codes = torch.from_numpy(values["input.codes" if name == INPUT else name].astype(np.float32))
    return Signal((codes - quantizer.zero) * quantizer.scale(), quantizer)


def other_sets(net: Net, train: DataSet, x: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    """The spread: top-1 of the served integers when other sets of 512 images give the ranges; changes ``net``."""
    found = []
    for i in range(1, OTHER_SETS + 1):
        net, seconds = calibrated(net, train.inputs(slice(i * IMAGES, (i + 1) * IMAGES)))
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
    runs = [*rows.values(), *results["plans"].values()]
    equal = sum(run["exact_equals_interpret"] for run in runs)
    made.append(Check("widths and plans at which exact equals interpret to the bit", equal, ">=", len(runs)))
    largest = max(entry["largest_difference"] for entry in results["layers_fed_the_same_codes"].values())
    made.append(Check("largest difference of one operator's codes", largest, "<=", 1))
    slowest = max(rows[str(b)]["interpret_seconds"] for b in WIDTHS)
    made.append(Check("seconds for the test set through interpret, slowest width", slowest, "<=", 300))
    return made


if __name__ == "__main__":
    main()
