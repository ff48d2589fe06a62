"""Five hundred callers who chose their names and numbers to hurt: real SIP in, every sink looked at afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from callwarden.centralclient import CentralClient
from edge.model.lifecycle import OUTCOMES
from rig import checker
from rig.ami_watch import AmiWatch
from rig.calltable_run import marks
from rig.hostile import CANARY, texts
from rig.phone import Phone
from rig.stack import Stack
from rig.tones import tone
from tests.asterisk.report import add_line
from tests.asterisk.stacks import own_stack

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(900)]

QUIET_CALLS = 520  # to the line that records nobody: in, agent, out
RECORDED_CALLS = 24  # asked, agreed, recorded, exported
AT_ONCE = 8
#: Control characters, and those that turn text around or end a line where nobody expects it.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Siege:
    """The stack after all calls; `answered` of them got through, Asterisk refused or dropped the rest."""

    stack: Stack
    answered: int
    dropped: int
    user_events: list[dict[str, str]]
    recorded: list[dict[str, Any]]


def _display(name: str) -> str:
    """A quoted string of SIP (RFC 3261 section 25.1): line ends and NUL cannot be in one."""
    return re.sub(r'(["\\])', r"\\\1", re.sub("[\r\n\x00]", " ", name))


async def _call(stack: Stack, ext: str, name: str, number: str, *, key_after: float | None) -> bool:
    try:
        phone = await Phone.dial(stack.pbx(), ext, number=number, name=_display(name), voice=tone(7), within=12)
    except TimeoutError:
        return False  # a From header that is no address at all gets no answer
    if phone.refused is not None:
        return False
    if key_after is not None:
        await phone.hear(20)
        await asyncio.sleep(key_after)
        await phone.press("1")
        await asyncio.sleep(4)
    await phone.hang_up()
    return True


@pytest.fixture(scope="module")
def siege() -> Iterator[Siege]:
    Path(CANARY).unlink(missing_ok=True)
    with own_stack("hostile") as stack:
        yield _besieged(stack)


def _besieged(stack: Stack) -> Siege:
    stack.up()
    counts = marks()["ask"].counts + 0.6

    async def all_calls() -> list[bool]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(ext: str, name: str, number: str, key_after: float | None) -> bool:
            async with gate:
                return await _call(stack, ext, name, number, key_after=key_after)

        quiet = [one("1005", name, number, None) for name, number in texts(QUIET_CALLS)]
        asked = [one("1001", name, number, counts) for name, number in texts(QUIET_CALLS + RECORDED_CALLS, seed=2)]
        return await asyncio.gather(*quiet, *asked[-RECORDED_CALLS:], *_closed(asked[:-RECORDED_CALLS]))

    with AmiWatch(stack.pbx()) as watch:
        results = asyncio.run(all_calls())
        assert checker.wait_idle(stack.pbx())
        user_events = list(watch.user_events)
    results = results[: QUIET_CALLS + RECORDED_CALLS]
    recorded = [c for c in stack.read("calls") if c["recordings"]]
    return Siege(stack, sum(results), len(results) - sum(results), user_events, recorded)


def _closed(unused: list[Any]) -> list[Any]:
    for coroutine in unused:
        coroutine.close()
    return []


def test_nearly_all_got_through_and_nothing_ran(siege: Siege) -> None:
    assert siege.answered > 0.85 * (QUIET_CALLS + RECORDED_CALLS)
    assert not os.path.exists(CANARY)
    assert siege.stack.process("edge") is not None
    assert siege.stack.read("status")["ready"] is True
    add_line(f"hostile names and numbers: {siege.answered} calls got through, {siege.dropped} Asterisk itself refused")


def test_the_journal_keeps_data_and_every_call(siege: Siege) -> None:
    """A line end or control character breaks Asterisk's AGI lines: the guard frees that caller, unrecorded, and says so."""
    calls = siege.stack.read("calls")
    freed = (siege.stack.run / "guard.out").read_text().count("freed a call")
    assert len(calls) + freed >= siege.answered
    broken = [t for t in texts(QUIET_CALLS) if UNPRINTABLE.search("".join(t)) or re.search("[\r\n\t]", "".join(t))]
    assert freed <= len(broken) + RECORDED_CALLS
    tags = [r["userfield"] for r in checker.cdr_rows(siege.stack.pbx())]
    assert tags.count("cw=unavailable") >= freed
    for call in calls:
        assert call["outcome"] in OUTCOMES
        assert call["caller"] is None or (len(call["caller"]) <= 64 and not UNPRINTABLE.search(call["caller"]))


def test_terminals_and_logs_get_no_control_characters(siege: Siege) -> None:
    stack = siege.stack
    printed = stack.callwarden("calls").stdout
    for call in siege.recorded[:10]:
        printed += stack.callwarden("why", call["call_id"]).stdout
        printed += stack.callwarden("evidence", call["call_id"], "--form", "receipt").stdout
    assert not UNPRINTABLE.search(printed.replace("\n", ""))
    for part in ("edge", "guard", "central"):
        lines = (stack.run / f"{part}.out").read_text(errors="replace").splitlines()
        assert not [line for line in lines if UNPRINTABLE.search(line)]
        assert all(line.startswith("timestamp=") for line in lines if "level=" in line)


def test_every_export_is_well_formed(siege: Siege) -> None:
    assert siege.recorded
    for call in siege.recorded:
        for form in ("record", "vcon", "json"):
            document = json.loads(siege.stack.callwarden("evidence", call["call_id"], "--form", form).stdout)
            assert document
            assert not UNPRINTABLE.search(json.dumps(document, ensure_ascii=False))


def test_asterisk_was_told_only_our_words(siege: Siege) -> None:
    ours = [e for e in siege.user_events if e.get("UserEvent") == "CallwardenConsent"]
    assert ours
    for event in ours:
        assert event["Outcome"] in OUTCOMES
        assert re.fullmatch(r"[0-9a-f]{32}", event["Call"])
    records = checker.cdr_rows(siege.stack.pbx())
    words = {r["userfield"] for r in records if r["userfield"]}
    assert all(re.fullmatch(r"cw=[a-z_]+(;call=[0-9a-f]{32})?", word) for word in words)


def test_central_has_every_call_and_no_number(siege: Siege) -> None:
    stack = siege.stack
    client = CentralClient(stack.central_url, stack.token(), stack.etc / "central-ca.pem")
    wanted = {c["call_id"] for c in stack.read("calls")}
    end = time.monotonic() + 30
    while True:
        there = {c["call_id"] for c in client.pages("/v1/calls", "calls")}
        if wanted <= there or time.monotonic() > end:
            break
        time.sleep(0.5)
    assert wanted <= there
