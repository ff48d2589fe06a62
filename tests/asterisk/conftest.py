"""A real Asterisk and its agent, alone, for the tests of the rig itself and of the dialplan."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.agent import Line, start_agent
from rig.asterisk import start_asterisk
from rig.places import state_folder
from tests.asterisk.report import LINES


@pytest.fixture(scope="session")
def rig_folder() -> Iterator[Path]:
    """A folder of this test run that Asterisk's own id can walk to (pytest's tmp_path is closed to it)."""
    folder = state_folder() / f"test-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def line(rig_folder: Path) -> Iterator[Line]:
    """Asterisk with the rig's dialplan and an answering agent, without the daemon."""
    pbx = start_asterisk(rig_folder / "pbx")
    agent = start_agent(pbx)
    yield Line(pbx, agent)
    agent.stop()
    pbx.stop()


@pytest.fixture(autouse=True)
def _reported(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """What a test has to show travels with its report, also from a worker process."""
    yield
    for line in LINES:
        record_property("line", line)
    LINES.clear()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests on the real server have to show."""
    reports = [r for reports in terminalreporter.stats.values() for r in reports if isinstance(r, pytest.TestReport)]
    lines = [v for r in reports if r.when == "teardown" for k, v in r.user_properties if k == "line"]
    if lines:
        terminalreporter.section("calls on the real server")
        for line in lines:
            terminalreporter.write_line(str(line))
