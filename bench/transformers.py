"""Latency of transformers by width: ViT-S/16 at 224 pixels and an encoder of MiniLM's sizes at 128 tokens, batch 1.

Weights are random, because the time of an instruction does not depend on them. Other engines get the float network as
an ONNX model that ONNX Runtime's own tools have quantized: every operator ("whole"), products alone ("products"), or
products whose inputs are quantized during the run ("dynamic"). The fastest of these forms counts.

All contestants run on the same core, in turns, and a ratio compares times of one round. Where kernels of AVX2 are
forced, OpenVINO's oneDNN is limited to it, too; ONNX Runtime cannot be limited, and is left out there.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dqt
from bench.common import Check, child, parser, write
from bench.networks import images
from bench.transformers_onnx import quantized
from bench.transformers_times import AGAINST, BEST, CLOCKS, FORMS, LIMITED, WIDTHS
from dqt.testing.zoo import timm, torchvision

WORDS, LENGTH = 30522, 128
MINILM = {
    "vocab_size": WORDS, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
    "intermediate_size": 1536, "max_position_embeddings": 512,
}  # fmt: skip
FASTEST, FEWER = 0.9, {"avx512vnni": 0.9, "avx2": 0.75}
"""Time at 8 bits over that of the fastest peer; time at 4 bits over that at 8, by kernel set: at most."""
PEAK = 0.8
"""Resident memory that the first run takes, over that of the leanest peer: at most."""


class Encoder(torch.nn.Module):
    """The last hidden states of a model of the package transformers."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens ``[N, length]`` to features ``[N, length, features]``."""
        found: torch.Tensor = self.model(tokens).last_hidden_state
        return found


def vit() -> tuple[torch.nn.Module, torch.Tensor]:
    """ViT-S/16 and pictures."""
    return timm().create_model("vit_small_patch16_224", pretrained=False), images(224)


def minilm() -> tuple[torch.nn.Module, torch.Tensor]:
    """A BERT of MiniLM's sizes and sentences."""
    torchvision()  # which transformers imports
    library = import_module("transformers")
    words = torch.randint(0, WORDS, (4, LENGTH), generator=torch.Generator().manual_seed(1))
    return Encoder(library.BertModel(library.BertConfig(**MINILM), add_pooling_layer=False)), words


NETWORKS: dict[str, Callable[[], tuple[torch.nn.Module, torch.Tensor]]] = {"vit_small": vit, "minilm": minilm}


@dataclass(frozen=True)
class Files:
    """What one network is kept as: a program, ONNX models by form, and an input of one sample."""

    program: Path
    onnx: dict[str, Path]
    input: Path


def files(name: str, folder: Path) -> Files:
    """The files of ``name`` in ``folder``, made where they are not there."""
    found = Files(
        folder / f"{name}.dqt", {form: folder / f"{name}.{form}.onnx" for form in FORMS}, folder / f"{name}.npy"
    )
    if all(path.exists() for path in (found.program, *found.onnx.values(), found.input)):
        return found
    torch.manual_seed(0)
    model, x = NETWORKS[name]()
    model.eval()
    folder.mkdir(parents=True, exist_ok=True)
    net = dqt.calibrate(dqt.prepare(model, x[:2], dqt.Config(widths=tuple(sorted(WIDTHS)))).eval(), [x])
    dqt.lower(net, info={"weights": "random"}).save(found.program)
    quantized(model, x, found.onnx)
    np.save(found.input, x[:1].numpy())
    return found


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__)
    options.add_argument("--folder", type=Path, help="where the networks are kept; made anew without")
    options.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options.add_argument("--seconds", type=float, default=20.0, help="of each network with each kernel set")
    options.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: where the core is shared")
    options.add_argument("--against", nargs="*", choices=AGAINST, default=list(AGAINST), help="engines and forms")
    arguments = options.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks:
            place = arguments.folder or Path(folder)
            kept = files(name, place)
            results[name] = measured(name, place, arguments) | {"memory": memory(kept, arguments.against)}
            print(name, results[name]["memory"], flush=True)
    settings: dict[str, Any] = {"against": arguments.against}
    settings |= {"threads": 1, "batch": 1, "widths": WIDTHS, "seconds": arguments.seconds, "clock": arguments.clock}
    write("transformers", settings=settings, results=results, checks=checks(results))


def measured(name: str, folder: Path, arguments: Any) -> dict[str, Any]:
    """One network: times and ratios by kernel set, each in a process of its own."""
    found: dict[str, Any] = {}
    for isa in FEWER:
        limits = {} if isa == BEST else LIMITED
        words = (str(folder), name, isa, str(arguments.seconds), arguments.clock, ",".join(arguments.against))
        found[isa] = child("bench.transformers_times", *words, **limits)
        for label, each in found[isa]["ms"].items():
            print(f"{name}, {isa}, {label}: {each}, of 8 bits {found[isa]['of_8'][label]['median']}", flush=True)
    return found


def memory(kept: Files, against: list[str]) -> dict[str, Any]:
    """Resident bytes that loading and a first run add at their peak, each in a process of its own."""
    found = {"dqt": child("bench.transformers_memory", "dqt", str(kept.program), str(kept.input))}
    for label in against:
        engine, form = label.split()
        if importlib.util.find_spec(engine):
            one = child("bench.transformers_memory", engine, str(kept.onnx[form]), str(kept.input))
            if one is not None:
                found[label] = one
    return found


def checks(results: dict[str, Any]) -> list[Check]:
    """Faster than every peer, faster at fewer bits, leaner."""
    made = []
    for name, found in results.items():
        for isa, most in FEWER.items():
            of_8 = {label: each["median"] for label, each in found[isa]["of_8"].items()}
            peers = [value for label, value in of_8.items() if not label.isdecimal()]
            if peers:
                what = f"{name}, {isa}, time at 8 bits over the fastest peer's"
                made.append(Check(what, round(1 / min(peers), 4), "<=", FASTEST))
            made.append(Check(f"{name}, {isa}, time at 4 bits over that at 8", round(of_8["4"], 4), "<=", most))
        others = [value for label, value in found["memory"].items() if label != "dqt"]
        if others:
            what = f"{name}, peak resident memory over the leanest peer's"
            made.append(Check(what, round(found["memory"]["dqt"] / min(others), 4), "<=", PEAK))
    return made


if __name__ == "__main__":
    main()
