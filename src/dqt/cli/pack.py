"""``dqt pack``: a program with the top bits of its weights alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dqt.cli.output import Json, ProgramFile, emit, written


def pack(
    net: ProgramFile,
    width: Annotated[int, typer.Option("--width", min=1, max=8, help="The widest width that the weights keep.")],
    out: Annotated[Path | None, written("NET4.dqt", "Default: the program's name with the width.")] = None,
    delta: Annotated[
        Path | None, written("DELTA", "Also write what dqt upgrade adds to the packed file.", "--delta")
    ] = None,
    as_json: Json = False,
) -> None:
    """Keep the top bits of the weights alone: about a half of the bytes at 4 bits, and the same integers up to there.

    The first and the last layer keep the program's edge width. With --delta, a second file holds the bits that are left
    out: dqt upgrade makes the whole program of both.
    """
    from dqt.program.program import Program

    program, target = Program.load(net), out or net.with_name(f"{net.stem}{width}{net.suffix}")
    if target.exists() and target.samefile(net):
        raise typer.BadParameter(f"--out {target} is the program itself, which would lose bits: give another file")
    packed = program.pack(width)
    if delta is not None:
        program.save_delta(delta, width)
    packed.save(target)
    sizes = {str(path): path.stat().st_size for path in (net, target, *([delta] if delta else []))}
    data: dict[str, Any] = {
        "file": str(target), "bytes": sizes[str(target)], "of": sizes[str(target)] / sizes[str(net)],
        "widths": list(packed.space.held), "delta": str(delta) if delta else None,
        "delta_bytes": sizes[str(delta)] if delta else None,
    }  # fmt: skip
    emit(data, as_json, lambda: _tell(data, net), out=target)


def _tell(data: dict[str, Any], net: Path) -> None:
    widths = ", ".join(map(str, data["widths"]))
    typer.echo(f"{data['file']}: {data['bytes']:,} bytes, {data['of']:.0%} of {net}; runs at {widths} bits")
    if data["delta"]:
        typer.echo(f"{data['delta']}: {data['delta_bytes']:,} bytes\nnext: dqt upgrade {data['file']} {data['delta']}")
