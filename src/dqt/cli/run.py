"""``dqt run``: answers for one input or a folder of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

import typer

from dqt.cli.inputs import EngineName, EngineOption, engine_of, plan_of, samples_of
from dqt.cli.output import Json, PlanFile, ProgramFile, emit, progress, table, written


def run(
    net: ProgramFile,
    inputs: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="An image, a .npy or .npz array, or a folder of them. uint8 are pixels."),
    ],
    bits: Annotated[str | None, typer.Option("--bits", help="A width, or auto. Default: the master.")] = None,
    plan: PlanFile = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many classes to show.")] = 5,
    out: Annotated[Path | None, written("OUT.npy", "Write the outputs, float32 [N, ...].")] = None,
    engine: EngineOption = EngineName.NATIVE,
    as_json: Json = False,
) -> None:
    """Run the integer program, on integers alone from the quantized input to the one dequantization."""
    import numpy as np

    from dqt.arith.cascade import Cascade
    from dqt.arith.files import write_file
    from dqt.arith.plan import AUTO, resolve
    from dqt.program.evaluate import run_batches
    from dqt.program.program import Program

    program = Program.load(net)
    chosen = plan_of(program.space, bits, plan)
    resolve(program.space, chosen)
    names, x = samples_of(program, inputs)
    with progress("running", len(x)) as advance:
        outputs, widths, passes = run_batches(program, x, chosen, advance=advance, engine=engine_of(program, engine))
    if out is not None:
        array = io.BytesIO()
        np.save(array, outputs)
        write_file(out, array.getbuffer())
    found = [_answer(program, name, y, top) for name, y in zip(names, outputs, strict=True)]
    for answer, row, count in zip(found, widths.tolist(), passes.tolist(), strict=True):
        if chosen == AUTO:
            answer["widths"] = dict(zip(program.layers, row, strict=True))
        if isinstance(chosen, Cascade):
            answer["passes"] = list(chosen.widths[:count])
    data = {"samples": found} | ({"out": str(out)} if out is not None else {})
    emit(data, as_json, lambda: _show(found, out), out=out)


def _answer(program: Any, name: str, y: Any, top: int) -> dict[str, Any]:
    from dqt.program.pixels import class_name

    if y.ndim == 0:
        return {"name": name, "value": float(y)}
    if y.ndim != 1:
        return {"name": name, "shape": list(y.shape)}
    order = (-y).argsort(kind="stable")[:top]
    return {"name": name, "top": [{"class": class_name(program, int(i)), "output": float(y[i])} for i in order]}


def _show(found: list[dict[str, Any]], out: Path | None) -> None:
    more = [head for key, head in (("widths", "widths by layer"), ("passes", "passes at")) if key in found[0]]
    rows = []
    for answer in found:
        best = answer.get("top", [])
        widths = " ".join(str(b) for b in answer.get("passes", answer.get("widths", {}).values()))
        other = f"{answer['value']:.6g}" if "value" in answer else f"output {answer.get('shape')}"
        said = [f"{one['class']} ({one['output']:.2f})" for one in best] or [other]
        rows.append((answer["name"], said[0], ", ".join(said[1:]), *([widths] if more else [])))
    table(("input", "class", "then", *more), rows, left=4)
    if out is not None:
        typer.echo(str(out))
