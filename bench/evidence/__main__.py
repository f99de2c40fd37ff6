"""``python -m bench.evidence``: train, evaluate and time the runs of docs/results.md.

    float NAME      train the float weights that a run starts from
    run NAME        train, lower, and evaluate every width; with a controller also its rivals
    judge NAME      evaluate a run folder that exists
    frontier NAME   cascades and searched width plans of an evaluated run over many budgets
    time NAME       milliseconds of each point of an evaluated run; needs a quiet core
    list            the recipes

NAME is a recipe of this folder or a .toml file. The same command resumes a run that was interrupted; a run that a
signal stopped exits with status 75. ``python -m bench.documents`` writes the page.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.evidence import records

if TYPE_CHECKING:
    from bench.evidence.training import Place

AGAIN = 75
"""Exit status of what was stopped and goes on when it is called again (EX_TEMPFAIL of sysexits.h)."""


def main(arguments: list[str] | None = None) -> int:
    """Parse and do; 1 with one line of what is wrong; 75 where it is to be called again."""
    options = _parser().parse_args(arguments)
    try:
        _do(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"{stop or 'interrupted'}; to go on, give the same command again", file=sys.stderr)
        return AGAIN
    return 0


def _do(options: argparse.Namespace) -> None:
    from bench.evidence import training

    if options.verb == "list":
        print("\n".join([*training.names(), *(f"float {name}" for name in training.names(training.FLOATS))]))
        return
    recipes = training.FLOATS if options.verb == "float" else training.RECIPES
    where = training.place(
        options.name, options.seed, options.data, options.weights, options.folder, options.runs, recipes
    )
    if options.verb == "float":
        _float(options, where)
    else:
        _run(options, where)


def _float(options: argparse.Namespace, where: Place) -> None:
    from bench.evidence import floats

    stem = where.name if options.seed is None else f"{where.name}-s{options.seed}"
    floats.train(where, options.weights or options.data / f"{stem}.safetensors", options.results)


def _run(options: argparse.Namespace, where: Place) -> None:
    from bench.evidence import frontier, judging, timing, training

    if options.verb == "run":
        training.train(where)
    if where.run.task is not None:
        print(f"{where.name}: trained; it has a task of its own, which another script judges (see bench/README.md)")
        return
    judged = judging.Judging(where, options.results, options.commit)
    judged.everything()
    if options.verb == "time":
        timing.times(judged)
    elif options.verb == "frontier":
        frontier.frontier(judged, options.budgets or ())
    elif judged.record.controller is not None:
        auto = judged.record.of("auto")[0]
        frontier.cascade(judged, auto.share)
        if where.start is None:  # else the plans searched for the run that it starts from serve
            frontier.searched(judged, auto.share)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench.evidence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    place = Path(os.environ.get("DQT_DATA", "data"))
    for name in ("float", "run", "judge", "frontier", "time"):
        verb = verbs.add_parser(name)
        verb.add_argument("name", metavar="NAME")
        verb.add_argument("--seed", type=int, help="default: the recipe's")
        verb.add_argument("--data", type=Path, default=place, help="what stands for data/ (default $DQT_DATA)")
        kept = "read (default: as in the recipe"
        if name == "float":
            kept = "where they go (default: NAME.safetensors, NAME-sSEED with --seed"
        verb.add_argument("--weights", type=Path, help=f"the float weights: {kept}, under --data)")
        verb.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="holds NAME-sSEED for each run")
        verb.add_argument("--folder", type=Path, help="the run's own folder, in place of one under --runs")
        verb.add_argument("--commit", help="what it was trained at, for a folder that does not say")
        verb.add_argument("--results", type=Path, default=records.FOLDER, help="where the JSON goes")
    some = "relative BitOPs to search and calibrate for (default: those of docs/results.md)"
    verbs.choices["frontier"].add_argument("--budgets", type=float, nargs="+", metavar="PART", help=some)
    verbs.add_parser("list")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
