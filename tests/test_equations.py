"""Every equation that the code cites is in docs/numerics.md, and every one there is cited."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
CITED = re.compile(r"\b(?:equations?|eqs?\.) (\d+)(?:(?:,| and| to) (\d+))?", re.IGNORECASE)
NUMBERED = re.compile(r" {2,}\((\d+)\)$", re.MULTILINE)


def cited() -> set[int]:
    found: set[int] = set()
    for path in sorted((ROOT / "src").rglob("*.py")):
        text = re.sub(r"\s+", " ", path.read_text())
        for match in CITED.finditer(text):
            first = int(match[1])
            last = int(match[2]) if match[2] else first
            found |= set(range(first, last + 1)) if " to " in match[0] else {first, last}
    return found


def test_equations_are_numbered_once_and_in_order() -> None:
    numbers = [int(n) for n in NUMBERED.findall((ROOT / "docs" / "numerics.md").read_text())]
    assert numbers == list(range(1, len(numbers) + 1))


def test_code_and_document_agree_on_the_equations() -> None:
    assert cited() == {int(n) for n in NUMBERED.findall((ROOT / "docs" / "numerics.md").read_text())}


def test_every_function_that_the_document_names_exists() -> None:
    text = (ROOT / "docs" / "numerics.md").read_text()
    source = "\n".join(path.read_text() for path in sorted((ROOT / "src" / "dqt" / "arith").glob("*.py")))
    for module, name in re.findall(r"`arith\.(\w+)\.(\w+)`", text):
        path = ROOT / "src" / "dqt" / "arith" / f"{module}.py"
        assert re.search(rf"^def {name}\(", path.read_text(), re.MULTILINE), f"{module}.{name}"
    for line in re.findall(r"^> `arith.*$", text, re.MULTILINE):
        for name in re.findall(r"`([a-z_]+)`", line.partition("`. ")[0] + "`"):
            assert f"def {name}(" in source, name
