"""``dqt lower``: from a checkpoint to an integer program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dqt.cli.inputs import checkpoint_of
from dqt.cli.output import CheckpointFile, Json, emit, written


def lower(
    checkpoint: CheckpointFile,
    out: Annotated[Path | None, written("NET.dqt", "Default: the checkpoint's name with .dqt.")] = None,
    as_json: Json = False,
) -> None:
    """Freeze a trained network into the integer program that is served; proves that no sum overflows."""
    import dqt
    from dqt.arith.files import write_file
    from dqt.program.file import dumps
    from dqt.train.build import rebuild

    source = checkpoint_of(checkpoint)
    net, held = rebuild(source)
    program = dqt.lower(net, info=held.info)
    target = out or source.with_suffix(".dqt")
    written = dumps(program)
    write_file(target, written)
    data = {
        "file": str(target),
        "bytes": len(written),
        "checkpoint": str(source),
        "epoch": held.epoch,
        "layers": len(program.layers),
        "widths": list(program.space.widths),
        "controller": bool(program.space.choices),
    }
    widths = ", ".join(str(b) for b in program.space.widths)
    more = ", a controller" if program.space.choices else ""
    said = f"{target}: {len(written):,} bytes, {len(program.layers)} layers, widths {widths}{more}"
    emit(data, as_json, lambda: typer.echo(said), out=target)
