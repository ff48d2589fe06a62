"""docs/invariants.md and docs/faults.md name tests and failpoints that exist: a promise without its test is seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["invariants.md", "faults.md"])
def test_every_test_that_is_named_is_there(page: str) -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", (ROOT / "docs" / page).read_text())
    assert len(named) > 20
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or not re.search(rf"def {name}\(", (ROOT / file).read_text())
    ]
    assert missing == []


def test_every_row_of_the_fault_list_is_accounted_for() -> None:
    cells = re.findall(r"^\| ([0-9, to]+) \|", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
    rows: list[int] = []
    for cell in cells:
        if " to " in cell:
            first, last = (int(number) for number in cell.split(" to "))
            rows += range(first, last + 1)
        else:
            rows += [int(number) for number in cell.split(",")]
    assert rows == list(range(1, 73))


def test_every_failpoint_is_in_a_write_order() -> None:
    text = (ROOT / "docs" / "invariants.md").read_text()
    sources = [path for folder in ("edge", "central", "callwarden") for path in (ROOT / folder).rglob("*.py")]
    points = {name for path in sources for name in re.findall(r'\bhit\("([\w.]+)"\)', path.read_text())}
    assert sorted(point for point in points if f"`{point}`" not in text) == []
