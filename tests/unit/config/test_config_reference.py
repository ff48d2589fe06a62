"""The page about settings says what the code says."""

from __future__ import annotations

from pathlib import Path

from edge.config.reference import render

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_page_is_the_sources() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "python -m edge.config.reference > docs/configuration.md"


def test_every_setting_has_a_reason_of_some_length() -> None:
    rows = [line for line in render().splitlines() if line.startswith("| `") and line.count(" | ") == 3]
    assert len(rows) > 40
    assert [row for row in rows if len(row.rsplit(" | ", 1)[1]) < 25] == []
