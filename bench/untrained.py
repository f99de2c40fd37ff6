"""Networks without training: accuracy, or agreement with the float network, by width and by method of calibration.

CIFAR-10 ResNets, calibrated on training images, are judged on test images that no constant of the library was chosen
on. Networks of ImageNet are judged by their agreement with the float network, because the samples may be training
images. ``int8`` compares 8 bits with plain int8 quantization of the same network (:mod:`bench.plain`). The engine
computes; it has the integers of ``dqt.interpret``.

    python -m bench.untrained --data DIR --shared DIR [resnet20] [resnet56] [mobilenet_v2] [efficientnet_lite0] [int8]
        [others]
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import dqt
from bench import imagenet
from bench.common import CIFAR10, RESULTS, Check, machine, parser, timed_on, write
from bench.named import results_in
from bench.networks import images
from bench.others import quantizations
from bench.plain import plain_int8
from dqt.testing.networks import unsettle
from dqt.testing.zoo import timm, torchvision
from dqt.train.build import float_model
from dqt.train.data import load
from dqt.train.recipe import ModelPart

WIDTHS = (8, 7, 6, 5, 4, 3, 2)
METHODS: dict[str, dict[str, Any]] = {"fast": {}, "best": {"method": "best"}, "shared": {"ranges": "shared"}}
IMAGES, BATCH = {"fast": 512, "best": 1024, "shared": 512}, 128
"""Training images of CIFAR-10 that a method calibrates on."""
SKIPPED, JUDGED = 1000, 9000
"""Test images at the beginning that constants of the library were chosen on; how many after them judge: all others."""
SAMPLE_BATCH = 25
BELOW_FLOAT = {4: 0.5, 3: 2.5}
AT_2_BITS = 80.0
AGREE = {
    "mobilenet_v2": {"8": 97.0, "6": 92.0, "5": 80.0},
    "efficientnet_lite0": {"8": 95.0, "6": 90.0, "weights 4, activations 8": 85.0},
}
RANDOM = {"resnet18": 224, "mobilenet_v2": 224, "efficientnet_b0": 224, "convnext_tiny": 224, "vit_tiny": 224}
SEEDS, FEW = (0, 1), 16
COMPARED = (*(f"{name}, random" for name in RANDOM), "resnet20", *AGREE)


def main() -> None:
    """Measure the networks that are named, and write the record after each: it keeps the others."""
    options = parser(__doc__, data=True)
    names = ["resnet20", "resnet56", *AGREE, "int8", "others"]
    options.add_argument("networks", nargs="*", default=[], choices=[*names, []], help="default: all")
    options.add_argument("--methods", nargs="+", default=[*METHODS], choices=METHODS)
    options.add_argument("--beside", nargs="+", default=[*COMPARED], choices=COMPARED, help="networks of int8")
    options.add_argument("--threads", type=int, default=1, help="of calibration; the time is that of all together")
    options.add_argument("--shared", type=Path, required=True, help="folder of the float weights")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    path = RESULTS / "untrained.json"
    settings = {"batch": BATCH, "skipped": SKIPPED, "threads": arguments.threads}
    for name in arguments.networks or names:
        found = measured(name, arguments)
        before = json.loads(path.read_text())["machine"] if path.exists() else {}
        results = _attributed(results_in(path), before)
        results[name] = results.get(name, {}) | found
        write("untrained", settings=settings, results=results, checks=checks(results), path=path)


def _attributed(results: Any, ran: dict[str, Any]) -> Any:
    """Results of a record whose times do not say where they were measured: all on the machine ``ran``."""
    if not isinstance(results, dict):
        return results
    here = {"timed_on": timed_on(ran)} if "seconds" in results else {}
    return here | {name: _attributed(each, ran) for name, each in results.items()}


def measured(name: str, arguments: Any) -> dict[str, Any]:
    """One network, or the comparison with plain int8, or with other libraries."""
    if name == "int8":
        return dict(compared(arguments))
    if name == "others":
        return {each: by_others(each, arguments) for each in AGREE}
    if name in AGREE:
        return agreement(name, arguments)
    return cifar(name, arguments)


# accuracy


def cifar(name: str, arguments: Any) -> dict[str, Any]:
    """Top-1 in percent, by method."""
    model, train, test = cifar_network(name, arguments)
    judged = slice(SKIPPED, SKIPPED + JUDGED)
    x, labels = test.inputs(judged), test.labels[judged]
    found: dict[str, Any] = {"float": percent(outputs(lambda part: model(part).numpy(), x) == labels), "judged": len(x)}
    for method in arguments.methods:
        parts = torch.split(train.inputs(slice(0, IMAGES[method])), BATCH)
        found[method] = calibrated(model, parts, method, x, labels)
    return found


def cifar_network(name: str, arguments: Any) -> tuple[nn.Module, Any, Any]:
    """A ResNet in evaluation mode, training and test images."""
    splits = load(f"cifar10={arguments.data / CIFAR10}")
    weights = str(arguments.shared / f"cifar10-{name}.safetensors")
    model = float_model(ModelPart(factory=f"dqt.train.models:{name}", weights=weights)).eval()
    return model, splits.train, splits.test


def agreement(name: str, arguments: Any) -> dict[str, Any]:
    """Agreement with the float network on samples that did not calibrate, in percent, by method."""
    x, model = imagenet.samples(arguments.data), imagenet_network(name, arguments)
    answers = outputs(lambda part: model(part).numpy(), x)
    parts, rest = torch.split(x[: imagenet.SAMPLES], SAMPLE_BATCH), slice(imagenet.SAMPLES, None)
    found: dict[str, Any] = {"judged": len(x[rest])}
    for method in arguments.methods:
        found[method] = calibrated(model, parts, method, x[rest], answers[rest])
    return found


def by_others(name: str, arguments: Any) -> dict[str, Any]:
    """The same agreement of what other libraries make of the network at 8 bits."""
    x, model = imagenet.samples(arguments.data), imagenet_network(name, arguments)
    answers, rest = outputs(lambda part: model(part).numpy(), x), slice(imagenet.SAMPLES, None)
    found = {}
    for library, (run, version, seconds) in quantizations(model, x[: imagenet.SAMPLES]).items():
        right = percent(outputs(run, x[rest]) == answers[rest])
        found[library] = {"right": right, "version": version, "seconds": seconds, "timed_on": timed_on(machine())}
        print(f"{name}, {library}: {found[library]}", flush=True)
    return found


def imagenet_network(name: str, arguments: Any) -> nn.Module:
    """One with true weights."""
    return imagenet.mobilenet_v2(arguments.shared) if name == "mobilenet_v2" else imagenet.efficientnet_lite0()


def calibrated(model: nn.Module, parts: Any, method: str, x: Tensor, expected: Tensor) -> dict[str, Any]:
    """Part of ``x`` on which the program's answer is ``expected``, in percent, by width; seconds of one core."""
    net = dqt.prepare(model, x[:2]).eval()
    start = time.process_time()
    dqt.calibrate(net, parts, **METHODS[method])
    seconds = round(time.process_time() - start, 1)
    run = dqt.Runtime(dqt.lower(net), threads=1)
    plans: dict[str, Any] = {str(b): b for b in WIDTHS} | {"weights 4, activations 8": mixed(net)}
    right = {label: percent(outputs(partial(_served, run, plan), x) == expected) for label, plan in plans.items()}
    print(f"{method}: {right}, {seconds} s", flush=True)
    images = sum(len(part) for part in parts)
    return {"images": images, "right": right, "seconds": seconds, "timed_on": timed_on(machine())}


def mixed(net: Any) -> dict[str, tuple[int, int]]:
    """Weights of 4 bits and activations of 8; first and last layer as in any plan of one width."""
    return {layer.name: (net.space.edge_width,) * 2 if layer.edge else (4, 8) for layer in net.space.layers}


def _served(run: dqt.Runtime, plan: Any, x: Tensor) -> Any:
    return run(x.numpy(), plan)


@torch.no_grad()
def outputs(run: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """Answers of ``run``, int64 ``[N]``."""
    return torch.from_numpy(np.concatenate([np.argmax(run(part), 1) for part in torch.split(x, 50)]))


def percent(right: Tensor) -> float:
    """Of the true ones."""
    return round(100 * float(right.double().mean()), 2)


# beside plain int8


def compared(arguments: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Mean cosine with the float network's outputs at 8 bits, ours and plain: network -> both, by seed."""
    for label in arguments.beside:
        yield label, {"cosines": [beside(*each) for each in networks_of(label, arguments)]}


def networks_of(label: str, arguments: Any) -> Iterator[tuple[nn.Module, Any, Tensor]]:
    """A network of each seed, batches that calibrate it, and inputs that judge."""
    name, _, random = label.partition(", ")
    if random:
        yield from (random_network(name, RANDOM[name], seed) for seed in SEEDS)
    elif name in AGREE:
        x = imagenet.samples(arguments.data)
        parts = torch.split(x[: imagenet.SAMPLES], SAMPLE_BATCH)
        yield imagenet_network(name, arguments), parts, x[imagenet.SAMPLES : 2 * imagenet.SAMPLES]
    else:
        model, train, test = cifar_network(name, arguments)
        parts = torch.split(train.inputs(slice(256)), BATCH)
        yield model, parts, test.inputs(slice(SKIPPED, SKIPPED + 500))


def random_network(name: str, side: int, seed: int) -> tuple[nn.Module, list[Tensor], Tensor]:
    """A network of random weights in evaluation mode, a few pictures that calibrate it, and others that judge."""
    torch.manual_seed(seed)
    if name == "vit_tiny":
        model: nn.Module = timm().create_model("vit_tiny_patch16_224", pretrained=False)
    else:
        model = torchvision().models.get_model(name, weights=None)
    unsettle(model.eval())
    x = torch.cat([images(side, seed=i) for i in range(8)])
    return model, [x[:FEW]], x[FEW:]


def beside(model: nn.Module, parts: Any, x: Tensor) -> dict[str, float]:
    """Cosines of ``{"ours": ..., "plain": ...}``."""
    net = dqt.prepare(model, x[:2]).eval()
    plain = plain_int8(net, parts)
    run = dqt.Runtime(dqt.lower(dqt.calibrate(net, parts, unlike_widths=False)), threads=1)
    found = {"ours": cosine(model, lambda part: torch.from_numpy(run(part.numpy(), 8)), x)}
    found["plain"] = cosine(model, plain, x)
    print(found, flush=True)
    return found


@torch.no_grad()
def cosine(model: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Of the outputs, the mean over samples."""
    each = [nn.functional.cosine_similarity(model(part), run(part)) for part in torch.split(x, 25)]
    return round(float(torch.cat(each).mean()), 5)


def checks(results: dict[str, Any]) -> list[Check]:
    """The targets of the networks that are there."""
    made = []
    for name in ("resnet20", "resnet56"):
        if name in results:
            right, reference = _judged(results[name]), results[name]["float"]
            below = {b: round(reference - right[str(b)], 2) for b in BELOW_FLOAT}
            made += [Check(f"{name}: points below float at {b} bits", below[b], "<=", BELOW_FLOAT[b]) for b in below]
            made.append(Check(f"{name}: top-1 at 2 bits", right["2"], ">=", AT_2_BITS))
    for name, targets in AGREE.items():
        if name in results:
            right = _judged(results[name])
            made += [Check(f"{name}: agreement, {b}", right[b], ">=", least) for b, least in targets.items()]
    for name, row in results.get("int8", {}).items():
        gains = [each["ours"] - each["plain"] for each in row["cosines"]]
        made.append(Check(f"{name}: cosine at 8 bits, least gain over plain int8", round(min(gains), 5), ">=", 0))
    return made


def _judged(row: dict[str, Any]) -> dict[str, float]:
    """What the targets are for: the best method that was measured."""
    found: dict[str, float] = row["best" if "best" in row else "fast"]["right"]
    return found


if __name__ == "__main__":
    main()
