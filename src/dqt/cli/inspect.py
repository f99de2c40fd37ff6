"""``dqt inspect``: the program as a table."""

from __future__ import annotations

from dataclasses import asdict

import typer

from dqt.cli.inputs import size_of
from dqt.cli.output import Json, ProgramFile, emit


def inspect(net: ProgramFile, as_json: Json = False) -> None:
    """The program as a table: operators, shapes, widths, MACs, and the accumulator bits that are proved.

    Of several inputs or outputs, states and named dimensions, also their names.
    """
    from dqt.arith.cost import controller_bitops, cost
    from dqt.program.listing import listing, rows
    from dqt.program.program import Program

    program = Program.load(net)
    space = program.space
    costs = {b: cost(program, b) for b in reversed(space.held)}
    shapes = {value.name: value.shape for value in program.values}
    data = {
        "file": str(net),
        "bytes": size_of(program, net),
        "input_shape": list(program.inputs[0].shape) if len(program.inputs) == 1 else None,
        "inputs": [asdict(given) for given in program.inputs],
        "outputs": [{"name": out.name, "shape": list(shapes[out.value])} for out in program.outputs],
        "states": [asdict(state) for state in program.states],
        "dims": [asdict(dim) for dim in program.dims],
        "info": dict(program.info),
        "master": space.master,
        "widths": list(space.widths),
        "packed": space.packed or None,
        "edge_width": space.edge_width,
        "choices": list(space.choices),
        "controller_bitops": controller_bitops(space),
        "layers": [asdict(layer) for layer in space.layers],
        "instructions": [row.as_dict() for row in rows(program)],
        "cost": {str(b): found.as_dict() for b, found in costs.items()},
    }

    def human() -> None:
        typer.echo(listing(program))
        shares = ", ".join(f"{b}: {100 * found.share:.1f} %" for b, found in costs.items())
        typer.echo(f"BitOPs by uniform width: {shares}")
        typer.echo(f"{net}: {data['bytes']:,} bytes" + _trained_on(program.info.get("data")))

    emit(data, as_json, human)


def _trained_on(data: object) -> str:
    return f", trained on {data}" if data else ""
