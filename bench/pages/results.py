"""The tables of docs/results.md, and its sentences with measured numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.common import processor_name, timed_on
from bench.evidence import records
from bench.evidence.records import FloatRecord, Point, Record, mean
from bench.markdown import table
from bench.pages import again, choices, controller, gate, joint, late, pictures, robust, targets, wide
from bench.pages.targets import (
    BASE,
    DYNAMIC,
    FASHION,
    FASHION_FLOAT,
    RESNET18,
    RESNET18_FLOAT,
    Runs,
    finished,
    fixed_network,
    float_top1,
    mix_at,
    top1,
    uniform_at,
    verdicts,
)

WIDTHS = (8, 7, 6, 5, 4, 3, 2)
NOT_RUN = "not yet run"
NETWORKS = {
    "any-width": "one nested model, batch norm by width",
    "any-width-float": "the same, every pass taught by the float network, 7 epochs",
    "any-width-float-15": "the same, every pass taught by the float network, 15 epochs",
    "any-width-resnet56": "the same, every pass taught by a float ResNet-56, 15 epochs",
    "any-width-resnet56-30": "the same, 15 epochs more",
    "any-width-shared": "one nested model, one batch norm",
    "scratch": "one nested model from random weights, batch norm by width, 15 epochs",
    "truncated": "trained at 8 bits alone, truncated at inference",
}
TARGETS = {"dynamic-25": "2.5 bits", "dynamic-3": "3 bits", "dynamic-4": "4 bits"}
MEASURES = {
    "measure-base": "base: norm by width, distillation, sandwich, alpha 1, gamma 0.99",
    "measure-norm-shared": "one batch norm for all widths",
    "measure-distill-off": "no distillation",
    "measure-all": "every width in every training step",
    "measure-alpha-0": "alpha 0",
    "measure-alpha-0.01": "alpha 0.01",
    "measure-alpha-0.05": "alpha 0.05",
    "measure-alpha-0.1": "alpha 0.1",
    "measure-gamma-0": "gamma 0",
    "measure-gamma-0.9": "gamma 0.9",
    "measure-gamma-0.999": "gamma 0.999",
}
RESNET18_DYNAMIC = "resnet18-dynamic"
ALONE_RUNS = tuple(name for rivals in targets.RIVALS.values() for name in rivals.values())
ALONE_WORDS = {
    "any-width-float-15": "a model for each width",
    "any-width-resnet56": "a model for each width, taught by the float ResNet-56",
}
LATE = ("wide-longer", "wide-joint")
EVERYTHING = (*NETWORKS, *ALONE_RUNS, *TARGETS, *MEASURES, *FASHION, targets.WIDE, *LATE, RESNET18, RESNET18_DYNAMIC)
FLOATS = (RESNET18_FLOAT, FASHION_FLOAT, targets.WIDE_FLOAT)
"""The float trainings of this folder; the float weights of ResNet-20 are public ones."""

TIME_NOTE = """One thread, batches of {batch}, {images:,} test images ({where}). Layers of 16 to 64 channels take
about as long at few bits as at 8 on this processor ([why](kernels.md#why-targets-are-missed)): an image takes
{least:.3f} ms at uniform {low} bits and {full:.3f} ms at 8 bits. A cascade runs some images several times and takes
{cascade:.3f} ms at the BitOPs of uniform 3 bits.
"""
MEASURES_NOTE = "The minutes are those of a machine that other work shared.\n"


def blocks(folder: Path = records.FOLDER) -> dict[str, str]:
    """Name of each block of the page -> its content, from the records of a folder."""
    everything, floats = records.load_all(folder), records.load_floats(folder)
    runs = finished(everything)
    return {
        "targets": _targets(runs, floats),
        "widths": _widths(runs),
        "dynamic": _dynamic(runs),
        "gap": _gap(runs),
        "late": late.block(),
        "choices": choices.block(runs),
        **wide.blocks(runs, floats),
        **robust.blocks(),
        **again.blocks(),
        **controller.blocks(),
        "gate": gate.block(),
        "frontier": _frontier(runs),
        "time": _time(runs),
        "measures": _measures(runs),
        "fashion": _fashion(runs, floats),
        "resnet18": _resnet18(runs, floats),
        "runs": _runs(everything, floats),
    }


def draw(docs: Path, folder: Path = records.FOLDER) -> None:
    """The pictures of the page."""
    pictures.draw(finished(records.load_all(folder)), docs / "results")
    for name, rows in controller.timed().items():
        pictures.draw_choices(rows, docs / "results" / f"time-{name}.svg")


def spread(values: Sequence[float]) -> str:
    """Mean, and the smallest and the largest where there are several."""
    if not values:
        return ""
    middle = f"{mean(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f} to {max(values):.2f})"


def _targets(runs: Runs, floats: Sequence[FloatRecord]) -> str:
    found = verdicts(runs, floats)
    rows = []
    for each in found:
        target = f"{'at most' if each.relation == '<=' else 'at least'} {each.target:g} {each.unit}"
        value = "" if each.value is None else f"{round(each.value, 2) + 0.0:.2f}"
        rows.append((each.what, target, value, f"**{each.words}**" if each.words == "missed" else each.words))
    counts = {words: sum(each.words == words for each in found) for words in ("met", "missed", NOT_RUN)}
    said = ", ".join(f"{count} {words}" for words, count in counts.items())
    return f"{said}.\n\n" + table(("what", "target", "found", ""), rows, left=1)


def _cells(runs: Runs, name: str) -> list[str]:
    return [spread(top1(runs, name, b)) for b in WIDTHS]


def _seeds(runs: Runs, name: str) -> str:
    return str(len(runs[name])) if name in runs else NOT_RUN


def _widths(runs: Runs) -> str:
    rows = [(words, _seeds(runs, name), *_cells(runs, name)) for name, words in NETWORKS.items()]
    for name, rivals in targets.RIVALS.items():
        alone = [_seeds(runs, rival) for rival in rivals.values()]
        dedicated = [spread(top1(runs, rivals[b], b)) if b in rivals else "" for b in WIDTHS]
        rows.append((ALONE_WORDS[name], _smallest(alone), *dedicated))
    base = fixed_network(runs)
    if base:
        shares = [base[0].uniform(b) for b in WIDTHS]
        cells = ["" if point is None else f"{100 * point.share:.1f}" for point in shares]
        rows.append(("BitOPs, % of 8 bits", "", *cells))
        times = [point.ms if point else None for point in (base[0].uniform(b) for b in WIDTHS)]
        if all(times):
            rows.append(("milliseconds for an image", "", *(f"{ms:.3f}" for ms in times)))
    return table(("network", "seeds", *(f"{b} bits" for b in WIDTHS)), rows)


def _smallest(seeds: list[str]) -> str:
    done = [text for text in seeds if text != NOT_RUN]
    if not done:
        return NOT_RUN
    return min(done, key=int) if len(done) == len(seeds) else f"{len(done)} of {len(seeds)} widths run"


# dynamic


def _percent(runs: Runs, name: str, measure: Callable[[Record], float | None]) -> str:
    return spread([value for record in runs.get(name, []) if (value := measure(record)) is not None])


def _first(record: Record, kind: Any) -> Point | None:
    points = record.of(kind)
    return points[0] if points else None


def _nearest(record: Record, kind: Any) -> Point | None:
    """The plan or cascade that was made for the controller's BitOPs."""
    auto = _first(record, "auto")
    near = [p for p in record.of(kind) if auto and p.budget is not None and abs(p.budget - auto.share) < 1e-9]
    return near[0] if near else None


def rivals(runs: Runs, name: str) -> list[str]:
    """Cells of one controller recipe: BitOPs, auto, uniform, plan, cascade, the cascade's BitOPs, dealt, 2 or 8."""

    def of(point: Callable[[Record], Point | None], share: bool = False) -> str:
        def one(record: Record) -> float | None:
            found = point(record)
            return None if found is None else 100 * (found.share if share else found.accuracy)

        return _percent(runs, name, one)

    def at(line: Callable[[Record, float], float]) -> str:
        def one(record: Record) -> float | None:
            auto = _first(record, "auto")
            return None if auto is None else line(record, auto.share)

        return _percent(runs, name, one)

    return [
        of(lambda record: _first(record, "auto"), share=True),
        of(lambda record: _first(record, "auto")),
        at(uniform_at),
        of(lambda record: _nearest(record, "plan")),
        of(lambda record: _nearest(record, "cascade")),
        of(lambda record: _nearest(record, "cascade"), share=True),
        of(lambda record: _first(record, "dealt")),
        at(mix_at),
    ]


RIVALS = ("BitOPs, %", "auto", "uniform", "plan", "cascade", "at BitOPs, %", "dealt", "2 or 8")


def _dynamic(runs: Runs) -> str:
    rows = [(words, _seeds(runs, name), *rivals(runs, name)) for name, words in TARGETS.items()]
    return table(("controller, at about uniform", "seeds", *RIVALS), rows)


def _gap(runs: Runs) -> str:
    """What the controllers know of their input, beside what a cascade knows."""
    gains, cascades = [], []
    for record in (record for name in TARGETS for record in runs.get(name, [])):
        auto, dealt, cascade = _first(record, "auto"), _first(record, "dealt"), _nearest(record, "cascade")
        if auto and dealt and cascade:
            gains.append(100 * (auto.accuracy - dealt.accuracy))
            cascades.append(100 * cascade.accuracy - uniform_at(record, cascade.share))
    if not gains:
        return ""
    return (
        f"The controllers gain {spread(gains)} points over the same choices dealt to other images. The cascades gain "
        f"{spread(cascades)} points over uniform widths of the same BitOPs, both passes counted.\n"
    )


def _frontier(runs: Runs) -> str:
    rows = []
    for record in runs.get(BASE, []):
        found: dict[tuple[str, ...], list[Point]] = {}
        for point in sorted((*record.of("plan"), *record.of("cascade")), key=lambda point: point.share):
            widths = "by layer" if point.widths is None else " then ".join(map(str, point.widths))
            figures = 100 * point.share, 100 * point.accuracy, uniform_at(record, point.share)
            row = point.kind, widths, str(record.seed), *(f"{figure:.2f}" for figure in figures)
            found.setdefault(row, []).append(point)
        for (kind, widths, seed, *numbers), points in found.items():
            budgets = [100 * point.budget for point in points if point.budget is not None]
            times = [point.ms for point in points if point.ms is not None]
            ms = f"{mean(times):.3f}" if times else ""
            rows.append((kind, widths, seed, _between(budgets), *numbers, ms))
    if not rows:
        return f"{NOT_RUN}.\n"
    names = ("kind", "widths", "seed", "budget, %", "BitOPs, %", "top-1", "uniform there", "ms")
    return table(names, rows, left=2)


def _time(runs: Runs) -> str:
    for record in fixed_network(runs):
        low, three, full = record.of("uniform")[0], record.uniform(3), record.uniform(8)
        cascade = targets.dearest(record.of("cascade"), three.share) if three else None
        if record.timed is None or cascade is None or full is None:
            continue
        machine = record.timed["machine"]
        said = {"where": timed_on(machine), "low": low.bits}
        ms = {"least": low.ms, "full": full.ms, "cascade": cascade.ms}
        return TIME_NOTE.format(**record.timed, **said, **ms)
    return ""


def _between(budgets: Sequence[float]) -> str:
    """One number, or the first and the last of several; to hundredths where they are needed."""
    each = [f"{budget:.2f}".rstrip("0").rstrip(".") for budget in (min(budgets), max(budgets))] if budgets else [""]
    return each[0] if each[0] == each[-1] else f"{each[0]} to {each[-1]}"


def _measures(runs: Runs) -> str:
    rows = []
    for name, words in MEASURES.items():
        minutes = spread([record.training.seconds / 60 for record in runs.get(name, [])])
        rows.append((words, _seeds(runs, name), *_cells(runs, name), minutes))
    return table(("setting", "seeds", *(f"{b} bits" for b in WIDTHS), "minutes"), rows) + "\n" + MEASURES_NOTE


def _beside_float(runs: Runs, names: dict[str, str], found: Sequence[float]) -> str:
    rows = [(words, spread(found) or NOT_RUN, _seeds(runs, name), *_cells(runs, name)) for name, words in names.items()]
    return table(("", "float", "seeds", *(f"{b} bits" for b in WIDTHS)), rows)


def _fashion(runs: Runs, floats: Sequence[FloatRecord]) -> str:
    words = dict(
        zip(FASHION, ("from scratch, 12 epochs", "from the float one, 6 epochs", "the same, 10 epochs"), strict=True)
    )
    return _beside_float(runs, words, float_top1(floats, FASHION_FLOAT))


def _resnet18(runs: Runs, floats: Sequence[FloatRecord]) -> str:
    widths = _beside_float(runs, {RESNET18: "uniform"}, float_top1(floats, RESNET18_FLOAT))
    cells = (_seeds(runs, RESNET18_DYNAMIC), *rivals(runs, RESNET18_DYNAMIC))
    return widths + "\n" + table(("controller", "seeds", *RIVALS), [("at about uniform 3 bits", *cells)])


# where the numbers come from


def _runs(records: Sequence[Record], floats: Sequence[FloatRecord]) -> str:
    rows = [*(_run(record) for record in records), *(_float_run(record) for record in floats)]
    names = {record.name for record in records} | {record.name for record in floats} | set(joint.judged())
    missing = [name for name in (*EVERYTHING, *FLOATS) if name not in names]
    text = table(("run", "seed", "epochs", "minutes", "trained at", "judged at", "judge", "on"), rows) if rows else ""
    unfinished = [f"{r.name} (seed {r.seed})" for r in records if not r.training.finished]
    if unfinished:
        text += f"\nIn training, and in no table above: {', '.join(unfinished)}.\n"
    return text + (f"\nNot yet run: {', '.join(missing)}.\n" if missing else "")


def _run(record: Record) -> tuple[str, ...]:
    training, judged = record.training, record.judged
    return (
        record.name,
        str(record.seed),
        f"{record.checkpoint['epoch']} of {training.epochs}",
        f"{training.seconds / 60:.0f}",
        _commits(training.started),
        str(judged["commit"]),
        str(judged["engine"]),
        _machines(training.started) or _on([("judged: ", judged["machine"])]),
    )


def _float_run(record: FloatRecord) -> tuple[str, ...]:
    epochs = len(record.losses)
    minutes, trained = f"{record.seconds / 60:.0f}", _commits(record.started)
    machines = _machines(record.started)
    return record.name, str(record.seed), f"{epochs} of {epochs}", minutes, trained, trained, "torch", machines


def _commits(notes: Sequence[dict[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(str(each["commit"]) for each in notes)) or "not recorded"


def _machines(notes: Sequence[dict[str, Any]]) -> str:
    return _on([("", each["machine"]) for each in notes if "machine" in each])


def _on(machines: Sequence[tuple[str, dict[str, Any]]]) -> str:
    said = (f"{word}{processor_name(m)}, {m['cores']} cores, {_gpu(m)}{m['date']}" for word, m in machines)
    return "; ".join(dict.fromkeys(said))


def _gpu(machine: dict[str, Any]) -> str:
    return f"{machine['accelerator']}, " if "accelerator" in machine else ""


assert set(DYNAMIC) == set(TARGETS)
