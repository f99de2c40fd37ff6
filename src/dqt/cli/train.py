"""``dqt train``: a run file to a trained network with checkpoints."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dqt.cli.inputs import rooted
from dqt.cli.output import DataRoot, Json, emit, written

if TYPE_CHECKING:
    from dqt.nn.net import Net
    from dqt.train.fit import History
    from dqt.train.gains import Judge


def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="A TOML run file, or the name of one that ships: see --list.")
    ] = "",
    run_dir: Annotated[
        Path | None, written("DIR", "Folder of the run; default: runs/ and CONFIG's name.", "--run")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")] = False,
    data_root: DataRoot = None,
    list_recipes: Annotated[bool, typer.Option("--list", help="Show the run files that ship, and exit.")] = False,
    as_json: Json = False,
) -> None:
    """Train all widths of a network, and its controller. Ctrl-C saves; --resume goes on as if it had not stopped."""
    if list_recipes:
        names = shipped()
        return emit(sorted(names), as_json, lambda: typer.echo("\n".join(f"{k}  {names[k]}" for k in sorted(names))))
    from dqt.train.build import load_splits, network, teacher
    from dqt.train.checkpoint import BEST, LAST
    from dqt.train.fit import fit
    from dqt.train.processes import keep_freed_memory
    from dqt.train.recipe import RecipeError, load_run

    if not config:
        raise RecipeError(f"no run file: dqt train CONFIG, or one of those that ship: {', '.join(sorted(shipped()))}")
    keep_freed_memory()
    path = find_recipe(config)
    run = rooted(load_run(path), data_root)
    data = load_splits(run)
    net = network(run, data.train.shape)
    folder = run_dir or Path("runs") / path.stem
    if run.recipe.learn == "controller":
        from dqt.train.gains import fit_controller

        places: dict[str, Any] = {"run": run, "run_dir": folder, "progress": not as_json}
        history = fit_controller(net, data.train, data.valid, judge=native_judge(net), **places)
    else:
        places = {"run": run, "run_dir": folder, "resume": resume, "progress": not as_json}
        history = fit(net, data.train, data.valid, teacher=teacher(run), **places)
    best = folder / BEST if (folder / BEST).exists() else folder / LAST
    summary: dict[str, Any] = {
        "run": str(folder),
        "checkpoint": str(best),
        **_scores(history),
        "epochs": len(history.rows),
        "warnings": [text for row in history.rows for text in row["warnings"]],
    }
    emit(summary, as_json, lambda: typer.echo(f"{best}\nnext: dqt lower {folder}"))
    return None


def _scores(history: History) -> dict[str, Any]:
    """The metric by plan, and its name where it is not the accuracy."""
    last = history.rows[-1]
    if "accuracy" in last:
        return {"accuracy": history.accuracy}
    return {"metric": last["metric"], "scores": history.scores}


def native_judge(net: Net) -> Judge:
    """The network as the native engine serves it: inputs and a width to logits."""
    import torch

    import dqt

    run = dqt.Runtime(dqt.lower(net))
    return lambda x, b: torch.from_numpy(run(x.contiguous().numpy(), b))


def shipped() -> dict[str, Path]:
    """The run files that ship with the package, by name."""
    folder = Path(str(files("dqt.train").joinpath("recipes")))
    return {path.stem: path for path in folder.glob("*.toml")}


def find_recipe(config: str) -> Path:
    """The file ``config``, or the shipped one of that name."""
    return Path(config) if Path(config).exists() else shipped().get(config, Path(config))
