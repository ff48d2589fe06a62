"""Who gets a second look in `make test`."""

from __future__ import annotations

import pytest

from rig.suite import MOST, deserves_second_look

CALL = "tests/asterisk/test_flow.py::test_a_call[1]"
KILL = "tests/crash/test_pause.py::test_killed_at"


@pytest.mark.parametrize(
    ("nodes", "again"),
    [
        ([CALL, KILL], True),
        ([], False),
        ([CALL, "tests/unit/store/test_books.py::test_x"], False),
        (["tests/asterisk/test_flow.py"], False),
        ([f"{CALL}{n}" for n in range(MOST + 1)], False),
    ],
)
def test_only_a_few_tests_on_real_processes_are_looked_at_again(nodes: list[str], again: bool) -> None:
    assert deserves_second_look(nodes) is again
