"""``dqt upgrade``: bits of a delta into the file of a packed program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dqt.cli.output import Json, emit


def upgrade(
    net: Annotated[Path, typer.Argument(metavar="NET4.dqt", help="A packed program, made by dqt pack.")],
    delta: Annotated[Path, typer.Argument(metavar="DELTA", help="What dqt pack --delta wrote with it.")],
    as_json: Json = False,
) -> None:
    """Add the bits of a delta to a packed program, in place.

    A delta of another file is refused, and so is a damaged one. The file changes whole or not at all.
    """
    from dqt.program.pack import upgrade as add

    width = add(net, delta)
    data = {"file": str(net), "bytes": net.stat().st_size, "width": width}
    emit(data, as_json, lambda: typer.echo(f"{net}: {data['bytes']:,} bytes, holds widths up to {width} bits"))
