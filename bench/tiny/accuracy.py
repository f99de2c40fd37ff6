"""Top-1 of ResNet-8 on the 10,000 test images of CIFAR-10: the float network, its int8 file, the program by width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import dqt
from bench.tiny.networks import FOLDER, INT8, float_network, images, samples
from dqt.export.packages import package
from dqt.program.program import Program

EVERY, BATCH = 10_000, 500


def by_width(program: Program, data: Path) -> dict[str, Any]:
    """Percent, by name or width."""
    x, labels = samples("resnet8", data, "test", EVERY), images(data, "test").labels
    model, run = float_network("resnet8", data).eval(), dqt.Runtime(program, threads=1)
    with torch.no_grad():
        real = np.concatenate([model(part).numpy() for part in torch.split(x, BATCH)])
    found: dict[str, Any] = {"float": top1(real, labels), "litert int8": top1(litert(data, x.numpy()), labels)}
    return found | {str(b): top1(np.asarray(run(x.numpy(), b)), labels) for b in reversed(program.space.widths)}


def top1(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Percent of samples whose largest logit is that of their label."""
    return round(100 * float((logits.argmax(1) == labels).mean()), 2)


def litert(data: Path, x: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Answers of the int8 file, which takes pixels less 128."""
    interpreter = package("ai_edge_litert.interpreter").Interpreter(str(data / FOLDER / INT8["resnet8"]), num_threads=1)
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(source, (BATCH, 32, 32, 3))
    interpreter.allocate_tensors()
    answers = []
    for part in np.split((x.transpose(0, 2, 3, 1) - 128).astype(np.int8), len(x) // BATCH):
        interpreter.set_tensor(source, part)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(target).copy())
    return np.concatenate(answers)
