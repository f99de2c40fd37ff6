"""Evaluation of one run: every point is written to the record at once, and an interrupted evaluation goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

import dqt
from bench.common import machine
from bench.evidence import records
from bench.evidence.records import Controller, Kind, Point, Record
from bench.evidence.training import Place, trained
from dqt.arith.cost import controller_bitops, full_bitops
from dqt.arith.plan import AUTO, PlanLike
from dqt.nn.net import Net
from dqt.program.evaluate import Evaluation, evaluate, evaluate_widths
from dqt.program.program import Program
from dqt.runtime import Runtime

ENGINE = "dqt.Runtime"
Widths = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]


def judge(program: Program, inputs: Floats, plan: PlanLike | npt.NDArray[np.int8]) -> Evaluation:
    """The integer program's answers under ``plan``, or at widths given for each sample, int8 ``[N, layers]``."""
    engine = Runtime(program).execute
    if isinstance(plan, np.ndarray):
        return evaluate_widths(program, inputs, plan, engine=engine)
    return evaluate(program, inputs, plan, engine=engine)


def output_codes(program: Program, inputs: Floats, bits: int) -> npt.NDArray[np.int32]:
    """The integer outputs at one width, ``[N, classes]``: what a cascade's margins are calibrated on."""
    return Runtime(program).codes(inputs, bits)


class Judging:
    """A run's program, its test and held-out images, and its record so far.

    A record of another checkpoint is begun anew.
    """

    def __init__(self, where: Place, results: Path, at: str | None = None) -> None:
        made = trained(where, at)
        self.where, self.net = where, made.net
        self.program = dqt.lower(made.net, info=made.info)
        self.splits = where.splits()
        self.inputs = self.splits.test.inputs().numpy()
        self.labels = self.splits.test.labels.numpy()
        self.path = records.path_of(where.name, where.run.recipe.seed, results)
        self.cache = where.folder / f"judged-{made.checkpoint['sha256'][:12]}"
        self.cache.mkdir(exist_ok=True)
        held_out = 0 if self.splits.valid is None else len(self.splits.valid)
        kept = self._kept(made.checkpoint)
        self.record = Record(
            name=where.name,
            seed=where.run.recipe.seed,
            recipe=where.run.as_dict(),
            training=made.training if made.training.started or kept is None else _since(made.training, kept),
            images={"train": len(self.splits.train), "held_out": held_out, "test": len(self.labels)},
            checkpoint=made.checkpoint,
            program_bytes=_size(self.program),
            timed=None if kept is None else kept.timed,
            judged={"commit": records.commit(), "machine": machine(), "engine": ENGINE},
            controller=_controller(self.net) if len(self.program.space.choices) > 1 else None,
            points=() if kept is None else kept.points,
        )
        self.record.save(self.path)

    def _kept(self, checkpoint: dict[str, Any]) -> Record | None:
        if not self.path.exists():
            return None
        before = records.load(self.path)
        return before if before.checkpoint["sha256"] == checkpoint["sha256"] else None

    def point(self, label: str, kind: Kind, plan: PlanLike | Widths, **more: Any) -> Point:
        """Judge ``plan`` on the whole test set, unless the record has it; ``more``: fields of the point."""
        found = self.record.find(label)
        if found is None:
            began = time.perf_counter()
            answers = judge(self.program, self.inputs, plan)
            if kind == "auto":
                np.save(self._auto_file, answers.widths)
            accuracy = round(answers.accuracy(self.labels), 6)
            seconds = round(time.perf_counter() - began, 1)
            found = Point(label=label, kind=kind, accuracy=accuracy, share=answers.share, seconds=seconds, **more)
            self.record = self.record.with_point(found)
            self.record.save(self.path)
            print(f"{self.path.stem}: {label}: {100 * accuracy:.2f} % at {100 * answers.share:.2f} %", flush=True)
        return found

    def timed(self, ms: Mapping[str, float], how: Mapping[str, Any]) -> None:
        """Write down the milliseconds of points, by label, and how they were taken."""
        points = tuple(
            point.model_copy(update={"ms": round(ms[point.label], 5)}) if point.label in ms else point
            for point in self.record.points
        )
        said = {"commit": records.commit(), "machine": machine(), **how}
        self.record = self.record.model_copy(update={"points": points, "timed": said})
        self.record.save(self.path)

    @property
    def _auto_file(self) -> Path:
        return self.cache / "auto.npy"

    def everything(self) -> None:
        """The widths that were trained; with a controller that chooses, its choice and the same choices dealt."""
        choices = self.program.space.choices
        widths = choices if len(choices) == 1 else self.program.space.widths
        for b in reversed(widths):
            held_out = None if self.splits.valid is None else round(self.held_out_top1(b), 6)
            self.point(f"{b} bits", "uniform", b, bits=b, held_out=held_out)
        if len(choices) > 1:
            self.point(AUTO, "auto", AUTO)
            if self.record.find("dealt") is None:
                self.point("dealt", "dealt", self._dealt())

    def _dealt(self) -> Widths:
        """The controller's choices, each given to another image: the same plans and the same mean BitOPs."""
        if self._auto_file.exists():
            widths: Widths = np.load(self._auto_file)
        else:
            widths = judge(self.program, self.inputs, AUTO).widths
        return np.random.default_rng(self.record.seed).permutation(widths)

    def held_out(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Inputs and labels that choices are made on.

        Raises:
            RecordError: the run holds no images out.
        """
        if self.splits.valid is None:
            raise records.RecordError(f"{self.where.name}: holds no images out: set data.valid in its recipe")
        return self.splits.valid.inputs().numpy(), self.splits.valid.labels.numpy()

    def held_out_codes(self, b: int) -> npt.NDArray[np.int32]:
        """The integer outputs on the held-out images at width ``b``; run once, then read from the run's folder."""
        return _cached(self.cache / f"held-out-{b}.npy", lambda: output_codes(self.program, self.held_out()[0], b))

    def held_out_top1(self, b: int) -> float:
        """Top-1 in [0, 1] on the held-out images at width ``b``."""
        return float((self.held_out_codes(b).argmax(axis=1) == self.held_out()[1]).mean())


def _cached(path: Path, make: Callable[[], npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    if path.exists():
        kept: npt.NDArray[np.int32] = np.load(path)
        return kept
    made = make()
    temporary = path.with_name(f"tmp-{path.name}")
    np.save(temporary, made)
    temporary.replace(path)
    return made


def _since(training: records.Training, kept: Record) -> records.Training:
    """What is known of the start from an earlier judging."""
    return training.model_copy(update={"started": kept.training.started})


def _controller(net: Net) -> Controller:
    space = net.space
    own = sum(value.numel() for name, value in net.named_parameters() if name.startswith("controller."))
    model = sum(layer.weights for layer in space.layers)
    return Controller(
        parameters=own, model_weights=model, bitops=controller_bitops(space), model_bitops=full_bitops(space)
    )


def _size(program: Program) -> int:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.dqt"
        program.save(path)
        return path.stat().st_size
