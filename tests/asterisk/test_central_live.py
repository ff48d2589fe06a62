"""Central's orders on a real call, the erasure that a withdrawal brings with its receipt, and the caller's text notice."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.stack import Stack
from tests.asterisk.live_kit import desk, live_stack, rows, talking, until
from tests.contract.webhook_receiver import receiver

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with live_stack("orders") as running:
        yield running


def set_policy(stack: Stack, line: str) -> None:
    """One line in policy `support`, instead of what it said there; read anew."""
    policy = stack.etc / "conf.d" / "support.toml"
    key = line.partition("=")[0]
    kept = [one for one in policy.read_text().splitlines() if not one.startswith(key)]
    policy.write_text("\n".join(kept).replace('mode = "opt_in"', f'mode = "opt_in"\n{line}', 1) + "\n")
    read = stack.callwarden("reload", check=False)
    assert read.returncode == 0, read.stderr


def with_gateway(stack: Stack, url: str) -> None:
    """`[notices]`, in effect with the next reload."""
    like = next(path for path in stack.etc.rglob("*secret*") if path.is_file())
    secret = stack.etc / "notices.secret"
    secret.write_text(SECRET)
    os.chown(secret, like.stat().st_uid, like.stat().st_gid)
    secret.chmod(0o600)
    (stack.etc / "conf.d" / "notices.toml").write_text(
        f'[notices]\nurl = "{url}"\nsecret_file = "{secret}"\ncountries = ["CZ"]\nlink = "https://example.org/r"\n'
    )


async def order(stack: Stack, cmd: str, call_id: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        stack.callwarden, "central", "order", cmd, "--call", call_id, "--reason", "the caller wrote", check=False
    )


async def test_central_hears_how_the_edge_fares(stack: Stack) -> None:
    """The daemon's heartbeat comes by itself, over a connection with the edge's own certificate."""

    def heard() -> bool:
        (edge,) = json.loads(stack.callwarden("central", "edge", "list", "--json").stdout)
        beat = edge["heartbeat"]
        return bool(beat and beat["ready"] and edge["certificate_ends"] and not edge["alarms"])

    await until("a heartbeat that says it is ready", heard, 60)


async def test_central_orders_on_a_real_call_and_the_erasure_that_follows(stack: Stack, tmp_path: Path) -> None:
    """Pause, resume and withdraw by central; once the call is over the recording goes, and both receipts hold."""
    set_policy(stack, 'erase_after = "0s"')
    async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608100077", seed=7) as talk:
        await talk.recording()
        call_id = talk.call_id
        await until("central knows the call", lambda: reported(stack, call_id))
        for cmd, state in (("pause", "paused"), ("resume", "recording"), ("withdraw", "sealed")):
            done = await order(stack, cmd, call_id)
            assert done.returncode == 0, done.stderr
            assert talk.states() == [state]
        assert talk.outcome() == "withdrawn"
        document = tmp_path / "withdraw.json"
        document.write_text(done.stdout)
        told = json.loads(done.stdout)["claims"]
        assert (told["result"], told["evidence"]["did"]) == ("done", "withdrawn")
        recording = str(rows(stack, "SELECT recording_id FROM recording WHERE call_id=?", call_id)[0][0])
        await asyncio.sleep(4)
        assert talk.states() == ["sealed"], "the call goes on"
    await until("the erasure", lambda: states_of(stack, call_id) == ["erased"])
    assert not any(recording in str(path) for path in stack.vault.rglob("*.payload"))

    def receipts() -> list[dict[str, object]]:
        found = json.loads(stack.callwarden("central", "receipts", "--json").stdout)
        return [one["document"] for one in found if one["recording_id"] == recording and not one["document"]["order"]]

    (own,) = await until("central has the receipt", receipts)
    erased = tmp_path / "erased.json"
    erased.write_text(json.dumps(own))
    for file, words in ((document, "ordered by central"), (erased, f"nobody ordered it: withdrawal in call {call_id}")):
        held = stack.callwarden("receipt", "verify", str(file), "--trust", str(stack.trust), check=False)
        assert held.returncode == 0, held.stderr
        assert words in held.stdout
    late = await order(stack, "pause", call_id)
    assert late.returncode == 6, late.stdout
    assert "refused:calls.not_live" in late.stderr


async def test_a_caller_gets_a_text_after_the_call(stack: Stack) -> None:
    async with receiver(SECRET) as gateway:
        with_gateway(stack, gateway.url)
        set_policy(stack, 'text_notice = "end"')
        async with desk(stack, "agent1") as agent, talking(stack, agent, number="+420608100078", seed=8) as talk:
            await talk.recording()
            call_id = talk.call_id
            await asyncio.sleep(3)
            assert rows(stack, "SELECT 1 FROM notice WHERE call_id=?", call_id) == []
        await until("the text", lambda: gateway.taken)
        await until("it is filed", lambda: rows(stack, "SELECT 1 FROM notice WHERE state='sent'"))
    ((_, text),) = gateway.taken
    assert gateway.refused == []
    assert (text["data"]["number"], text["data"]["call_id"]) == ("+420608100078", call_id)
    assert rows(stack, "SELECT state, number_e164 FROM notice WHERE call_id=?", call_id) == [("sent", None)]


def reported(stack: Stack, call_id: str) -> bool:
    found = json.loads(stack.callwarden("central", "recordings", "--json").stdout)
    return any(one.get("call_id") == call_id for one in found)


def states_of(stack: Stack, call_id: str) -> list[str]:
    return [state for (state,) in rows(stack, "SELECT state FROM recording WHERE call_id=?", call_id)]
