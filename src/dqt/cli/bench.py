"""``dqt bench``: latency by width, beside other engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqt.cli.inputs import plan_in, samples_of
from dqt.cli.output import Json, PlanFiles, ProgramFile, emit, progress, table

if TYPE_CHECKING:
    from dqt.arith.plan import PlanLike
    from dqt.program.program import Program
    from dqt.runtime.bench import Report, Step
    from dqt.runtime.layers import LayerTime, Profiles


def bench(
    net: ProgramFile,
    bits: Annotated[str | None, typer.Option("--bits", help="Widths, such as 8,4,2,auto. Default: all.")] = None,
    plan: PlanFiles = None,
    batch: Annotated[str, typer.Option("--batch", help="Samples of a call, such as 1,8.")] = "1",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads, on as many cores.")] = 1,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Of each row of the table.")] = 1.0,
    against: Annotated[
        str | None, typer.Option("--against", help="Other engines, such as onnxruntime,openvino.")
    ] = None,
    isa: Annotated[str | None, typer.Option("--isa", help="Kernels by name, such as portable. Default: best.")] = None,
    inputs: Annotated[
        Path | None, typer.Option("--inputs", metavar="INPUT", help="As of dqt run. Default: noise.")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Every layer by itself, instead: see above.")] = False,
    as_json: Json = False,
) -> None:
    """Latency by width and batch: median, 10th and 90th percentile; with --against, other engines in turn.

    Below the table: the widths that are not faster than the next wider one, which then is the better choice.

    How often "auto" and a cascade take the dearer way depends on the inputs: time them with --inputs.

    Other engines get the same weights and run at 8 bits, on the same cores, one turn of each after the other.

    With --layers, a table for each width and batch: each instruction's kernel, MACs, time, and its share of the peak,
    which is what the block kernel of this processor reaches on operands in the cache, measured at once.
    """
    from dqt.program.program import Program
    from dqt.runtime.bench import bench as room
    from dqt.runtime.bench import turns

    program = Program.load(net)
    plans = _plans(program, bits, plan or [])
    batches = [_count(word) for word in batch.split(",")]
    peers = list(dict.fromkeys(against.split(","))) if against else []
    x = samples_of(program, inputs)[1] if inputs is not None else None
    if layers:
        _by_layer(program, plans, batches, peers, as_json, net=net, threads=threads, seconds=seconds, isa=isa, x=x)
        return
    with progress("timing", turns(len(plans), len(batches), len(peers))) as advance:
        report = room(
            program, plans=plans, batches=batches, threads=threads, seconds=seconds, against=peers, isa=isa, inputs=x,
            advance=advance,
        )  # fmt: skip
    emit({"file": str(net)} | report.as_dict(), as_json, lambda: _show(report, next(iter(plans))))


def _by_layer(
    program: Program, plans: dict[str, PlanLike], batches: list[int], peers: list[str], as_json: bool, *,
    net: Path, threads: int, seconds: float, isa: str | None, x: Any,
) -> None:  # fmt: skip
    from dqt.runtime.layers import by_layer

    if peers:
        raise typer.BadParameter("--layers times dqt alone: leave out --against")
    found = by_layer(
        program, plans=plans, batches=tuple(batches), threads=threads, seconds=seconds, isa=isa, inputs=x
    )  # fmt: skip
    emit({"file": str(net)} | found.as_dict(), as_json, lambda: _show_layers(found))


def _show_layers(found: Profiles) -> None:
    heads = ("operator", "name", "kernel", "MACs", "ms", "of the run", "GMAC/s", "of the peak")
    for each in found.profiles:
        unit = " bits" if each.bits.isdecimal() else ""
        typer.echo(f"{each.bits}{unit}, batch {each.batch}: {sum(row.ms for row in each.layers):.4g} ms")
        table(heads, [_layer_cells(row) for row in each.layers], left=3)
    where = f"pinned to {_cores(found.cores)}" if found.cores else "not pinned: this system cannot"
    typer.echo(f"{found.isa} kernels, {found.threads} thread{'s' * (found.threads > 1)}, {where}")
    typer.echo(f"peak: {found.peak:,.0f} GMAC/s, the block kernel on operands in the cache, measured now")


def _layer_cells(row: LayerTime) -> tuple[str, ...]:
    share = f"{row.of_run:.1%}"
    if row.of_peak is None:
        return (row.op, row.name, "", "", f"{row.ms:.4f}", share, "", "")
    rate = f"{row.macs / row.ms / 1e6:.0f}"
    return (row.op, row.name, row.kernel, f"{row.macs:,}", f"{row.ms:.4f}", share, rate, f"{row.of_peak:.0%}")


def _plans(program: Program, bits: str | None, files: list[Path]) -> dict[str, PlanLike]:
    """Label -> plan, in the order given.

    Raises:
        PlanError: neither a width nor "auto"; or a file that holds no plan.
    """
    from dqt.arith.cascade import Cascade
    from dqt.arith.plan import AUTO, PlanError

    held = {path: plan_in(program.space, path) for path in files}
    named = {f"{'cascade' if isinstance(one, Cascade) else 'plan'} {path}": one for path, one in held.items()}
    if bits is None and files:
        return dict(named)
    if bits is None:
        plans: dict[str, PlanLike] = {str(b): b for b in reversed(program.space.held)}
        return plans | ({AUTO: AUTO} if program.space.automatic else {})
    made: dict[str, PlanLike] = {}
    for word in bits.split(","):
        if word != AUTO and not word.isdecimal():
            raise PlanError(f"--bits {bits!r}: need widths or auto with commas between, such as 8,4,auto")
        made[word] = AUTO if word == AUTO else int(word)
    return made | named


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise typer.BadParameter(f"{word!r} is not a number of samples; give some with commas between, such as 1,8")
    return int(word)


def _show(report: Report, first: str) -> None:
    heads = (
        "engine",
        "bits",
        "batch",
        "median ms",
        "10 %",
        "90 %",
        "images/s",
        f"time / dqt at {first}",
        "10 % - 90 %",
    )
    rows = [
        (
            row.engine, row.bits, str(row.batch), f"{row.ms.median:.4g}", f"{row.ms.p10:.4g}", f"{row.ms.p90:.4g}",
            f"{row.images_per_second:,.1f}", f"{row.ratio.median:.3f}", f"{row.ratio.p10:.3f} - {row.ratio.p90:.3f}",
        )
        for row in report.rows
    ]  # fmt: skip
    table(heads, rows)
    for step in report.steps:
        if step.faster != "yes":
            typer.echo(_not_faster(step, several=len({row.batch for row in report.rows}) > 1))
    where = f"pinned to {_cores(report.cores)}" if report.cores else "not pinned: this system cannot"
    typer.echo(f"{report.isa} kernels, {report.threads} thread{'s' * (report.threads > 1)}, {where}")
    for one in report.agreement:
        typer.echo(f"{one.engine} {one.version}: {_agreed(one)}")


def _not_faster(step: Step, *, several: bool) -> str:
    measured = f"{step.ratio.median:.2f}x its time, {step.ratio.p10:.2f} - {step.ratio.p90:.2f}"
    where = f", batch {step.batch}" if several else ""
    if step.faster == "no":
        return f"{step.bits} bits{where}: not faster than {step.wider} ({measured})"
    return f"{step.bits} bits{where}: as fast as {step.wider}, within the noise ({measured})"


def _cores(cores: tuple[int, ...]) -> str:
    return f"core{'s' * (len(cores) > 1)} {', '.join(map(str, cores))}"


def _agreed(one: Any) -> str:
    return (
        f"same top-1 as dqt at 8 bits on {one.top1:.0%} of {one.samples} inputs, "
        f"mean |difference| {100 * one.difference:.2g} % of the outputs' standard deviation"
    )
