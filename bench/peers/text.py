"""Texts of one length: paragraphs of the documentation in Python's own standard library."""

from __future__ import annotations

import ast
import random
import re
import sysconfig
import zipfile
from importlib import import_module
from pathlib import Path

import torch

SHORTEST = 600
"""Letters of a text."""


def paragraphs(count: int, length: int) -> torch.Tensor:
    """Tokens ``[count, length]`` of as many modules and classes, the same ones each time; none is shorter, so none is
    filled up.
    """
    package = import_module("all_minilm_l6_v2")
    with zipfile.ZipFile(Path(str(package.__file__)).parent / "model.zip") as archive:
        tokenizer = import_module("tokenizers").Tokenizer.from_str(archive.read("tokenizer.json").decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    texts = documentation()
    random.Random(0).shuffle(texts)
    rows = [each.ids for each in tokenizer.encode_batch(texts) if len(each.ids) == length]
    return torch.tensor(rows[:count])


def documentation() -> list[str]:
    """What modules and classes say of themselves, where it is long."""
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    texts = (ast.get_docstring(node) or "" for node in nodes if isinstance(node, ast.Module | ast.ClassDef))
    return [re.sub(r"\s+", " ", text) for text in texts if len(text) > SHORTEST]
