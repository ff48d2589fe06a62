"""What Asterisk itself says happened: its call records, its event log, its open channels."""

from __future__ import annotations

import csv
import re
import time
from pathlib import Path

from rig.asterisk import Asterisk
from rig.pbx_conf import CDR_COLUMNS, CEL_COLUMNS

Row = dict[str, str]


def cdr_rows(pbx: Asterisk) -> list[Row]:
    """The call detail records so far, by column name; `start`, `answer`, `end` are Unix seconds."""
    return _rows(pbx.run / "log" / "cdr-custom" / "cdr.csv", CDR_COLUMNS)


def cel_rows(pbx: Asterisk) -> list[Row]:
    """The channel events so far, by column name; `eventtime` is Unix seconds."""
    return _rows(pbx.run / "log" / "cel-custom" / "cel.csv", CEL_COLUMNS)


def cdr_of(pbx: Asterisk, number: str, within: float = 5.0) -> list[Row]:
    """The records of calls from this number, waited for until there is one: Asterisk writes them after the hang-up."""
    end = time.monotonic() + within
    while True:
        found = [row for row in cdr_rows(pbx) if row["src"] == number]
        if found or time.monotonic() > end:
            return found
        time.sleep(0.05)


def outcome(row: Row) -> str:
    """The consent outcome in a record's user field (`cw=OUTCOME;call=ID`), empty if there is none."""
    found = re.search(r"(?:^|;)cw=([a-z_]+)", row["userfield"])
    return found[1] if found else ""


def agent_dialled_at(pbx: Asterisk, number: str) -> float | None:
    """When Asterisk began to dial the agent's leg for the last call from this number (Unix seconds, microseconds kept)."""
    times = [
        float(row["eventtime"])
        for row in cel_rows(pbx)
        if row["eventtype"] == "APP_START" and row["appname"] == "Dial" and row["num"] == number
    ]
    return times[-1] if times else None


def channels(pbx: Asterisk) -> int:
    """How many channels are open."""
    found = re.search(r"(\d+) active channel", pbx.cli("core show channels count"))
    assert found is not None
    return int(found[1])


def wait_idle(pbx: Asterisk, within: float = 10.0) -> bool:
    """Wait until no channel is open; False when some still are."""
    end = time.monotonic() + within
    while channels(pbx):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def complaints(pbx: Asterisk) -> list[str]:
    """Warnings and errors in Asterisk's log."""
    text = pbx.log.read_text(errors="replace") if pbx.log.is_file() else ""
    return [line for line in text.splitlines() if re.search(r"\] (WARNING|ERROR)\[", line)]


def _rows(path: Path, columns: tuple[str, ...]) -> list[Row]:
    if not path.is_file():
        return []
    names = [column.partition("(")[0] for column in columns]  # what is in brackets says how it is written
    with path.open(newline="", errors="replace") as handle:
        return [dict(zip(names, row, strict=True)) for row in csv.reader(handle) if len(row) == len(names)]
