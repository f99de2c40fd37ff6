"""The documentation site: it builds without a warning, fetches nothing, and holds every page and every public name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dqt

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//(?!www\.w3\.org)[^>]*>")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # which is about the theme's future, not about the pages
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not re.search("WARNING|ERROR", done.stderr), done.stderr
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    for document in sorted((ROOT / "docs").rglob("*.md")):
        place = document.relative_to(ROOT / "docs").with_suffix("")
        assert (site / place / "index.html").exists(), place
    for page in ("index.html", "architecture/index.html", "contributing/index.html", "changelog/index.html"):
        assert (site / page).exists()


def test_every_public_name_has_its_docstring(site: Path) -> None:
    text = (site / "reference" / "index.html").read_text()
    for name in dqt.__all__:
        if not name.startswith("_"):
            assert re.search(rf'id="dqt\.[\w.]*\b{name}"', text), name
    assert 'id="dqt.export.file.onnx"' in text
    assert ":func:" not in text  # roles are code


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = [tag for tag in OUTSIDE.findall(page.read_text()) if 'rel="canonical"' not in tag]
        assert found == [], page


def test_the_search_finds_words_of_every_part(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    places = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {"", "guide/torchvision/", "reference/", "same-bits/", "numerics/", "changelog/"} <= places


def test_pictures_of_the_front_page_are_there(site: Path) -> None:
    text = (site / "index.html").read_text()
    pictures = re.findall(r'<img[^>]*src="([^"]+)"', text)
    assert len(pictures) >= 2
    assert all((site / picture).exists() for picture in pictures)
