"""``python -m bench.evidence``: train, judge, and write the page of results.

    run NAME        train (or go on), lower, judge every width; controllers also against their rivals
    judge NAME      judge a run folder that exists
    frontier NAME   cascades and searched plans of a judged run over many budgets
    report          docs/results.md and its pictures, from the JSONs alone
    list            the recipes

Everything goes on where it was interrupted. NAME is a recipe of this folder or a .toml file.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from bench.evidence import records


def main(arguments: list[str] | None = None) -> int:
    """Parse and do; 1 with one line of what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        _do(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _do(options: argparse.Namespace) -> None:
    if options.verb == "report":
        from bench.evidence import results

        return results.write(options.results, options.docs)
    from bench.evidence import frontier, judging, training

    if options.verb == "list":
        print("\n".join(training.names()))
        return None
    where = training.place(options.name, options.seed, options.data, options.weights, options.folder, options.runs)
    if options.verb == "run":
        training.train(where)
    judged = judging.Judging(where, options.results, options.commit)
    judged.everything()
    if options.verb == "frontier":
        frontier.frontier(judged)
    elif judged.record.controller is not None:
        auto = judged.record.of("auto")[0]
        frontier.cascade(judged, auto.share)
        if where.start is None:  # else the plans searched for the run that it starts from serve
            frontier.searched(judged, auto.share)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench.evidence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    place = Path(os.environ.get("DQT_DATA", "data"))
    for name in ("run", "judge", "frontier"):
        verb = verbs.add_parser(name)
        verb.add_argument("name", metavar="NAME")
        verb.add_argument("--seed", type=int, help="default: the recipe's")
        verb.add_argument("--data", type=Path, default=place, help="what stands for data/ (default $DQT_DATA)")
        verb.add_argument("--weights", type=Path, help="the float weights (default: as in the recipe, under --data)")
        verb.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="holds NAME-sSEED for each run")
        verb.add_argument("--folder", type=Path, help="the run's own folder, in place of one under --runs")
        verb.add_argument("--commit", help="what it was trained at, for a folder that does not say")
        verb.add_argument("--results", type=Path, default=records.FOLDER, help="where the JSON goes")
    verb = verbs.add_parser("report")
    verb.add_argument("--results", type=Path, default=records.FOLDER)
    verb.add_argument("--docs", type=Path, default=records.ROOT / "docs")
    verbs.add_parser("list")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
