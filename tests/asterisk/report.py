"""Lines that the tests on the real server leave for the reader; `conftest.py` prints them after the last test."""

from __future__ import annotations

LINES: list[str] = []


def add_line(line: str) -> None:
    """One row of the report."""
    LINES.append(line)
