"""A PBX that records by itself: a real Asterisk's own MixMonitor writes WAV files as FreePBX names them, and the standing
service takes them over, bit for bit, while the daemon answers for its own calls."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.invariants import check as check_invariants
from rig.phone import Phone
from rig.places import SHARED_GID
from rig.stack import Stack
from rig.tones import tone
from tests.asterisk.live_kit import rows, until
from tests.asterisk.report import add_line
from tests.asterisk.stacks import own_policies, own_stack

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(240)]

SERVICE = """
[adopt.pbx]
folder = "{folder}"
policy = "support"
basis = "legitimate_interests"
reference = "assessment of 2026-01-05"
evidence = "announcement 12"
timezone = "UTC"
settle = "6s"
"""
#: Two that are recorded by Asterisk itself, and how long they talk, seconds.
CALLERS = {"+420606000901": 4.0, "+420606000902": 6.0}


def _records_by_itself(folder: Path) -> str:
    name = "in-1099-${FILTER(0-9+,${CALLERID(num)})}-${STRFTIME(${EPOCH},UTC,%Y%m%d-%H%M%S)}-${UNIQUEID}"
    return (
        f"exten => 1099,1,Set(__CALLFILENAME={name})\n same => n,MixMonitor({folder}/${{CALLFILENAME}}.wav,b)\n"
        " same => n,Dial(PJSIP/agent,30)\n same => n,Hangup()\n"
    )


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with own_stack("adopting") as stack:
        folder = stack.pbx_run / "monitor"
        stack.extra_dialplan = _records_by_itself(folder)
        stack.up()
        if os.geteuid() == 0:  # as an operator would: Asterisk's group, in which the daemon is, may remove files
            os.chown(folder, -1, SHARED_GID)
            folder.chmod(0o2775)
        own_policies(stack, {"adopt": SERVICE.format(folder=folder)})
        yield stack


async def _talk(stack: Stack, number: str, seconds: float) -> None:
    phone = await Phone.dial(stack.pbx(), "1099", number=number, voice=tone(900))
    await phone.hear()
    await asyncio.sleep(seconds)
    await phone.hang_up()


async def test_what_asterisk_recorded_by_itself_is_taken_over(stack: Stack, tmp_path: Path) -> None:
    folder = stack.pbx_run / "monitor"
    await asyncio.gather(*(_talk(stack, number, seconds) for number, seconds in CALLERS.items()))
    # Closed, and younger than it has to be: what is in them now is what must come out again.
    files = await until("both files", lambda: len(found := sorted(folder.glob("in-*.wav"))) == 2 and found)
    await asyncio.sleep(1)
    before = {path.name: path.read_bytes() for path in files}
    await until("an empty folder", lambda: not list(folder.glob("*.wav")), 40)
    query = (
        "SELECT c.call_id, c.channel_uid, c.outcome, r.recording_id, r.state, p.number_heard FROM call c"
        " JOIN recording r USING(call_id) JOIN party p USING(call_id) JOIN adoption a USING(recording_id)"
        " WHERE a.removed_at IS NOT NULL"
    )
    taken = await until("both recordings", lambda: len(found := rows(stack, query)) == 2 and found)
    assert {row[5] for row in taken} == set(CALLERS)
    for call_id, uid, outcome, recording_id, state, number in taken:
        assert (outcome, state) == ("adopted", "sealed")
        (data,) = [data for name, data in before.items() if uid in name]
        out = tmp_path / f"{recording_id}.wav"
        stack.callwarden("export", recording_id, "-o", str(out), "-i", str(stack.identity_file))
        assert out.read_bytes()[44:] == data[44:]  # every sample that Asterisk wrote
        seconds = (len(data) - 44) / 16000
        assert seconds > CALLERS[number] - 1
        assert "taken over" in stack.callwarden("why", call_id).stdout
    # Beside it the daemon goes on with its own: asked, and nothing of a refusal is kept or taken over.
    asked = await Phone.dial(stack.pbx(), "1001", number="+420606000903", voice=tone(1000))
    await asked.hear()
    await asked.hang_up()
    assert await asyncio.to_thread(check_invariants, stack, lines=("1001",)) == []
    add_line(f"adopting: {len(taken)} files of Asterisk's own MixMonitor taken over bit for bit, none left")


def test_an_adopted_recording_is_erased_like_any_other(stack: Stack) -> None:
    """By central's order; the receipt names the file that it was, and the file's identity stays, its name does not."""
    (recording_id, identity) = rows(stack, "SELECT recording_id, identity FROM adoption ORDER BY begun_at")[0]
    order = ("central", "erase", "--recording", recording_id, "--reason", "test", "--dpo-key", str(stack.dpo_key))
    stack.callwarden(*order, "--wait", "40")
    assert rows(stack, "SELECT state FROM recording WHERE recording_id=?", recording_id) == [("erased",)]
    left = rows(stack, "SELECT identity, content, place, name FROM adoption WHERE recording_id=?", recording_id)
    assert left == [(identity, None, None, None)]
    (jws,) = rows(stack, "SELECT jws FROM receipt ORDER BY seq DESC LIMIT 1")[0]
    payload = jws.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert [copy["place"] for copy in claims["evidence"]["copies"] if copy["place"] == "original"] == ["original"]
    assert check_invariants(stack, lines=("1001",)) == []
