"""Row 50: policies are edited and read anew while a call runs, on a whole stack: the call keeps the one it began under."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.calltable_run import marks
from rig.phone import Phone
from rig.stack import Stack
from rig.tones import tone
from tests.asterisk.live_kit import PATIENCE_S, live_stack, rows, until
from tests.asterisk.test_door import arun

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]

#: Lines whose dialplan names no policy: found by the number, the queue, the context.
EXTRA = """
exten => 1931,1,Gosub(callwarden,s,1())
 same => n,Dial(PJSIP/agent,30)
exten => 1932,1,Set(CALLWARDEN_QUEUE=claims)
 same => n,Gosub(callwarden,s,1())
 same => n,Dial(PJSIP/agent,30)
exten => 1933,1,Gosub(callwarden,s,1())
 same => n,Dial(PJSIP/agent,30)
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with live_stack("reload", EXTRA) as stack:
        yield stack


def policy_file(stack: Stack) -> Path:
    return stack.etc / "conf.d" / "support.toml"


def edit(stack: Stack, old: str, new: str) -> int:
    """Replace, and tell the line."""
    path = policy_file(stack)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def in_effect(stack: Stack) -> str:
    """The version of `support` that calls get now, as filed."""
    found = rows(stack, "SELECT value FROM meta WHERE key='policies'")
    return str(json.loads(found[0][0])["support"]) if found else ""


def version_of(stack: Stack, call_id: str) -> str:
    return str(rows(stack, "SELECT policy_version FROM call WHERE call_id=?", call_id)[0][0])


def alarms(stack: Stack) -> list[tuple[str, str, str]]:
    return [tuple(map(str, row)) for row in rows(stack, "SELECT code, message, place FROM alarm ORDER BY rowid")]  # type: ignore[misc]


def loaded(stack: Stack) -> list[dict[str, str | None]]:
    """What the audit log says about policy `support`, oldest first."""
    entries = [json.loads(e) for (e,) in rows(stack, "SELECT entry FROM audit ORDER BY idx")]
    return [e["body"] for e in entries if e["kind"] == "policy.loaded" and e["body"]["policy"] == "support"]


async def agree(stack: Stack, extension: str, number: str, seed: int) -> tuple[Phone, str]:
    """A caller who said yes and is being recorded; the call's id."""
    phone = await Phone.dial(stack.pbx(), extension, number=number, voice=tone(seed), within=PATIENCE_S)
    await phone.hear(20)
    await asyncio.sleep(marks()["ask"].counts + 0.6)
    await phone.press("1")
    query = "SELECT c.call_id FROM call c JOIN party p USING(party_id) JOIN recording r USING(call_id)"
    found = await until(
        "a recording that grows", lambda: rows(stack, f"{query} WHERE p.number_heard=? AND r.state='recording'", number)
    )
    return phone, str(found[0][0])


def states(stack: Stack, call_id: str) -> list[str]:
    return [str(s) for (s,) in rows(stack, "SELECT state FROM recording WHERE call_id=?", call_id)]


async def test_row50_a_policy_edited_in_mid_call(stack: Stack) -> None:
    edge = stack.process("edge")
    assert edge is not None
    first = in_effect(stack)
    assert loaded(stack) == [{"policy": "support", "old": None, "new": first}]
    phone, call_id = await agree(stack, "1001", "+420607100001", 11)
    try:
        edit(stack, 'answer_window = "5s"', 'answer_window = "6s"')
        edge.signal(signal.SIGHUP)
        await until("the new version in effect", lambda: in_effect(stack) != first)
        second = in_effect(stack)
        assert loaded(stack)[-1] == {"policy": "support", "old": first, "new": second}

        # A bad one is refused with file, line and fix, by both ways in, and nothing changes.
        line = edit(stack, 'answer_window = "6s"', 'answer_window = "6 parsecs"')
        refused = await arun(stack, "reload")
        place = f"{policy_file(stack)}:{line}"
        assert refused.returncode == 3, refused.stdout
        assert place in refused.stderr
        assert "hint:" in refused.stderr
        edge.signal(signal.SIGHUP)
        await until("both alarms", lambda: sum(c == "config.reload_refused" for c, _, _ in alarms(stack)) == 2)
        assert {p for c, _, p in alarms(stack) if c == "config.reload_refused"} == {place}
        assert all("fix:" in m for c, m, _ in alarms(stack) if c == "config.reload_refused")
        assert in_effect(stack) == second

        # The call is still the one it was, and still recorded.
        assert edge.alive
        assert version_of(stack, call_id) == first
        assert states(stack, call_id) == ["recording"]
    finally:
        await phone.hang_up()
    edit(stack, 'answer_window = "6 parsecs"', 'answer_window = "6s"')
    phone, call_id = await agree(stack, "1001", "+420607100002", 12)
    await phone.hang_up()
    assert version_of(stack, call_id) == second
    done = await arun(stack, "reload", "--json")
    assert (done.returncode, json.loads(done.stdout)["changed"]) == (0, [])


async def test_a_policy_that_came_by_reload_takes_calls_and_one_that_went_does_not(stack: Stack) -> None:
    path = stack.etc / "conf.d" / "zz_new.toml"
    support = policy_file(stack).read_text()
    keys = support[support.index("recipients = [") : support.index("]", support.index("recipients = [")) + 1]
    text = f'[policy.fresh]\nmode = "opt_in"\npurposes = ["quality", "evidence"]\nlanguages = ["en"]\n{keys}\n'
    path.write_text(text)
    assert "fresh (new)" in (await arun(stack, "reload")).stdout
    phone, call_id = await agree(stack, "policy-fresh", "+420607100003", 13)
    try:
        path.unlink()
        assert "fresh (gone)" in (await arun(stack, "reload")).stdout
        assert states(stack, call_id) == ["recording"], "the call keeps its policy to the end"
    finally:
        await phone.hang_up()
    await until("its end", lambda: states(stack, call_id) == ["sealed"])
    tried = await arun(stack, "policy", "try", "--call", call_id)
    assert tried.returncode == 0, tried.stderr
    assert "presses 1: given" in tried.stdout
    assert "no policy of that name any more" in tried.stdout


async def test_number_then_queue_then_context_choose_the_policy(stack: Stack) -> None:
    path = stack.etc / "conf.d" / "zz_match.toml"
    matches = {"by_did": 'did = ["1931"]', "by_queue": 'queue = ["claims"]', "by_context": 'context = ["from-callers"]'}
    path.write_text("".join(f'[policy.{n}]\nmode = "never"\nmatch = {{ {m} }}\n' for n, m in matches.items()))
    assert (await arun(stack, "reload")).returncode == 0
    query = "SELECT c.policy_id, c.outcome FROM call c ORDER BY c.seq DESC LIMIT 1"
    for number, name in enumerate(matches):
        phone = await Phone.dial(
            stack.pbx(), f"193{number + 1}", number=f"+42060720000{number}", voice=tone(20 + number), within=PATIENCE_S
        )
        try:
            await until(f"a call under {name}", lambda name=name: rows(stack, query) == [(name, "not_recorded")])
        finally:
            await phone.hang_up()
    path.unlink()
    assert (await arun(stack, "reload")).returncode == 0


async def test_what_needs_a_restart_is_named(stack: Stack) -> None:
    path = stack.etc / "edge.toml"
    before = path.read_text()
    path.write_text(before.replace("[asterisk]", '[asterisk]\nguard_deadline = "3s"', 1))
    try:
        done = await arun(stack, "reload", "--json")
        assert json.loads(done.stdout)["restart"] == ["asterisk.guard_deadline"], done.stderr
    finally:
        path.write_text(before)
