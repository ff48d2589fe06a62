"""The log: machine-readable, and nobody outside can forge a line of it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from edge import log


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_callers_name_stays_on_its_line(form: str) -> None:
    out = io.StringIO()
    log.set_up("json" if form == "json" else "console", stream=out)
    structlog.get_logger().info("a call entered", caller="Eve\r\n2026 level=error forged\x1b[2J")
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert "\x1b" not in lines[0]
    assert "forged" in lines[0]


def test_json_lines_and_levels() -> None:
    out = io.StringIO()
    log.set_up("json", level="warning", stream=out)
    logger = structlog.get_logger()
    logger.info("too quiet")
    logger.warning("heard", number=3)
    document = json.loads(out.getvalue())
    assert (document["event"], document["number"], document["level"]) == ("heard", 3, "warning")


def test_a_traceback_keeps_its_lines() -> None:
    out = io.StringIO()
    log.set_up("json", stream=out)
    try:
        raise ValueError("bad")
    except ValueError:
        structlog.get_logger().exception("it failed")
    assert "\n" in json.loads(out.getvalue())["exception"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="loud"):
        log.set_up(level="loud")
