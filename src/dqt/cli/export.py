"""``dqt export``: a program in the form of another tool."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqt.cli.inputs import plan_in
from dqt.cli.output import Json, PlanFile, ProgramFile, emit, written

if TYPE_CHECKING:
    from dqt.arith.plan import PlanLike
    from dqt.program.program import Program


class Form(StrEnum):
    """Forms of an ONNX model."""

    integer = "integer"
    qdq = "qdq"


def onnx(
    net: ProgramFile,
    out: Annotated[Path | None, written("NET.onnx", "Default: the program's name with .onnx.")] = None,
    bits: Annotated[str | None, typer.Option("--bits", help="A width, or auto. Default: the master width.")] = None,
    plan: PlanFile = None,
    form: Annotated[
        Form, typer.Option("--form", help="integer: exact. qdq: for other engines' int8 kernels, not exact.")
    ] = Form.integer,
    controller: Annotated[bool, typer.Option("--controller", help="The controller alone, which gives widths.")] = False,
    as_json: Json = False,
) -> None:
    """Write a program as an ONNX model of standard integer operators, which gives the same integers.

    In ONNX Runtime's CPU provider it does so at every level of optimization, with any batch.
    """
    from dqt.export import file
    from dqt.program.program import Program

    program = Program.load(net)
    target = out or net.with_suffix(".onnx")
    if controller:
        file.controller(program, target)
    else:
        file.onnx(program, target, _plan(program, bits, plan), form=form.value)
    size = target.stat().st_size
    data: dict[str, Any] = {"file": str(target), "bytes": size, "form": form.value, "program": str(net)}
    if form is Form.qdq:
        data["agreement"] = _agreement(program)
    emit(data, as_json, lambda: typer.echo(f"{target}: {size:,} bytes, {_words(form, controller, data)}"), out=target)


def c(
    net: ProgramFile,
    out: Annotated[Path | None, written("FOLDER", "Default: the program's name with -c.")] = None,
    name: Annotated[str, typer.Option("--name", help="Of the files, and before every name in them.")] = "net",
    width: Annotated[str | None, typer.Option("--width", help="Leave out what this width never reads.")] = None,
    plan: PlanFile = None,
    as_json: Json = False,
) -> None:
    """Write a program as a folder of C99 for microcontrollers, which gives the same integers at every width.

    With --width 4, or with a plan, it holds and runs these widths alone.
    """
    from dqt.export.c99.write import c as write
    from dqt.program.program import Program

    target = out or net.with_name(f"{net.stem}-c")
    program = Program.load(net)
    write(program, target, name=name, width=_plan(program, width, plan, "--width"))
    data: dict[str, Any] = {"folder": str(target), "files": sorted(each.name for each in target.iterdir())}
    emit(data, as_json, lambda: typer.echo(f"{target}: {', '.join(data['files'])}"), out=target)


def _agreement(program: Program) -> dict[str, Any] | None:
    """How often ONNX Runtime gives the same top-1 in QDQ form, on noise; None where it is not installed."""
    from dataclasses import asdict
    from importlib.util import find_spec

    from dqt.runtime.bench import agreement

    return asdict(agreement("onnxruntime", program)) if find_spec("onnxruntime") else None


def _words(form: Form, controller: bool, data: dict[str, Any]) -> str:
    if controller:
        return "the controller's widths"
    if form is Form.integer:
        return "the program's integers, exactly"
    found = data["agreement"]
    if found is None:
        return "QDQ form, rounded otherwise; pip install onnxruntime to have the agreement measured"
    return (
        f"QDQ form, not exact: {found['engine']} {found['version']} gives the same top-1 on {found['top1']:.0%} of "
        f"{found['samples']} noisy inputs"
    )


def _plan(program: Program, bits: str | None, plan: Path | None, option: str = "--bits") -> PlanLike:
    """What --bits (or ``option``) and --plan say."""
    if bits is not None and plan is not None:
        raise typer.BadParameter(f"give {option} or --plan, not both")
    if plan is not None:
        return plan_in(program.space, plan)
    if bits is None or bits == "auto":
        return bits  # type: ignore[return-value] # "auto", or none
    if not bits.isdecimal():
        raise typer.BadParameter(f"{option} {bits!r}: need a width such as 4, or auto")
    return int(bits)
