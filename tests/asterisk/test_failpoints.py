"""Rows 2, 6, 43, 52, 62: kill -9 at every named failpoint, on real calls through a real Asterisk, then the checker.

Each test arms one failpoint in the whole stack, drives what passes it (a call that agrees, one that does not, an order
to erase), sees the daemon die there of SIGKILL, starts it again, lets the call end, and runs rig/invariants.py. Where
the caller had agreed before the kill, the exported audio must hold every second from the key to the hang-up.
Four stacks work side by side.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.places import PROJECT
from tests.asterisk import test_dialplan_star, test_live_pause, test_live_withdraw
from tests.asterisk.sweep_kit import Bench, Scenario, Sweep
from tests.crash import (
    test_adopt,
    test_afterwork,
    test_backup,
    test_canary,
    test_capture,
    test_edge_keys,
    test_further,
    test_keys,
    test_many,
    test_media,
    test_migration,
    test_notices,
    test_number_key,
    test_pause,
    test_policy_crash,
    test_retention,
    test_store_crash,
    test_verify_crash,
)
from tests.unit.central import test_central_restore, test_media_kills

pytestmark = [pytest.mark.asterisk, pytest.mark.crash]

STACKS = 4
#: A second after the question's end.
AFTER_PROMPT_S = (
    1
    + max(
        p["duration_ms"]
        for p in tomllib.loads((PROJECT / "prompts" / "en" / "manifest.toml").read_text())["prompt"]
        if p["id"] == "ask"
    )
    / 1000
)


def _no_prompt_copies(bench: Bench) -> None:
    for folder in (bench.stack.state / "var" / "prompts").iterdir():
        shutil.rmtree(folder)


BEFORE_THE_YES = [
    Scenario(point, outcome="unavailable", seconds=1.5)
    for point in (
        "agi.env_read", "agi.token_checked", "call.opened", "agi.answered", "agi.play_asked", "call.requested",
        "slots.written", "slots.synced", "start.slot_synced", "agi.played",
    )
]  # fmt: skip
AT_THE_KEY = [
    Scenario("agi.key_asked", outcome="unavailable", seconds=1.5, press_at=AFTER_PROMPT_S),
    Scenario("agi.key_read", outcome="unavailable", seconds=1.5, press_at=AFTER_PROMPT_S),
]
#: The yes is stored and Asterisk does not record: both records say so.
BEFORE_THE_MONITOR = [
    Scenario(point, outcome="unavailable", seconds=2.5)
    for point in ("start.granted", "spool.created", "start.resume_saved", "agi.monitor_asked")
]
#: Restarted only after the caller hung up, so nobody could tag the call any more.
LATE = [
    Scenario("start.granted:1", "late", "unavailable", 1),
    Scenario("agi.monitor_asked:1", "late", "unavailable", 1),
    Scenario("agi.monitor_started:1", "late", "given", 3),
]
RECORDED = [
    Scenario(point, outcome="given", seconds=seconds)
    for point, seconds in (
        ("agi.monitor_started", 4), ("start.monitor_started", 4), ("agi.variable_set:6", 4), ("call.tagged", 4),
        ("agi.done", 4), ("vault.created", 5.5), ("vault.create_synced", 5.5), ("vault.appended", 5.5),
        ("vault.synced", 5.5), ("seal.payload_synced", 5.5), ("seal.committed", 5.5), ("seal.punched", 5.5),
        ("close.last_chunk_synced", 3), ("close.segment_committed", 3), ("close.sealed", 3),
        ("close.resume_destroyed", 3), ("spool.unlinked", 3),
    )
]  # fmt: skip
TWICE = [
    Scenario("ami.snapshot", "again", "given", 6.5, first="seal.committed"),
    Scenario("seal.payload_synced:2", "again", "given", 9.5, first="seal.payload_synced"),
    Scenario("rotate.added", "again", "given", 9, first="seal.punched"),
]
#: What follows the tag: a notice that the law asks for, an answer that is remembered.
AFTER_THE_TAG = [
    Scenario("call.told", "law", "not_required", 4, press_at=AFTER_PROMPT_S),
    Scenario("memory.remembered", "member", "given", 4),
]
#: The open segment cannot go on while the call does.
DAMAGED = [
    Scenario("rotate.closed", "damage", "given", 11),
    Scenario("vault.truncated", "damage", "given", 11),
]
NOT_RECORDED = [
    Scenario("call.declined", "never", "not_recorded", 4),
    Scenario("call.declined:1", "hang_up", "abandoned"),
    Scenario("call.tagged:1", "never", "not_recorded", 4),
]
#: Whatever commit it is that is lost or just made: both records agree and audio is whole or absent.
COMMITS = [Scenario(f"journal.{side}_commit:{nth}") for side in ("before", "after") for nth in (5, 9)]
ERASED = [
    Scenario(point, "erase")
    for point in (
        "sync.delivery_checked", "sync.delivery_stored", "erase.intended", "slots.shred_written", "slots.shred_synced",
        "slots.shred_checked", "erase.slots_shredded", "erase.keeper_answered", "journal.truncated", "vault.unlinked",
        "vault.unlink_synced", "erase.payload_unlinked", "erase.finished", "sync.receipts_sent",
        "sync.receipt_acknowledged", "sync.checkpoint_cosigned",
    )
]  # fmt: skip
REPORTED = [Scenario("sync.batch_sent:2", seconds=2), Scenario("sync.pruned:2", seconds=2)]
STARTS = [
    Scenario(point, "start", "given", 2, before=_no_prompt_copies)
    for point in ("durable.written", "durable.synced", "durable.renamed")
]

#: The long ones first, what erases others' recordings last.
ALL = [
    *DAMAGED, *TWICE, *AT_THE_KEY, *RECORDED, *COMMITS, *BEFORE_THE_YES, *BEFORE_THE_MONITOR, *LATE, *REPORTED,
    *AFTER_THE_TAG, *NOT_RECORDED, *STARTS, *ERASED,
]  # fmt: skip


@pytest.fixture(scope="module")
def sweep(request: pytest.FixtureRequest) -> Iterator[Sweep]:
    """The chosen scenarios, started at once."""
    asked = [item.callspec.params.get("scenario") for item in request.session.items if hasattr(item, "callspec")]
    running = Sweep([s for s in ALL if any(s is a for a in asked)], STACKS)
    yield running
    running.join()


@pytest.mark.parametrize("scenario", ALL, ids=lambda s: s.point)
def test_killed_at(scenario: Scenario, sweep: Sweep) -> None:
    sweep.result(scenario)


def test_every_failpoint_is_killed_at_somewhere() -> None:
    """A failpoint that no test ever hits is a step of a write order that nobody has seen fail."""
    sources = [p for folder in ("edge", "central", "callwarden") for p in (PROJECT / folder).rglob("*.py")]
    named = {name for path in sources for name in _points(path)}
    here = {s.name for s in ALL}
    alone = {p.partition(":")[0] for p in (*test_capture.STEPS, *test_capture.BEFORE_ASTERISK)}
    alone |= {p.partition(":")[0] for p in test_afterwork.STEPS}
    alone |= set(test_pause.STEPS) | set(test_number_key.POINTS)
    alone |= {*test_live_pause.KILLED_AT, *test_live_withdraw.KILLED_AT, *test_dialplan_star.KILLED_AT}
    alone |= {p.partition(":")[0] for p in test_policy_crash.STEPS}
    alone |= {p.partition(":")[0] for p in test_adopt.POINTS}
    alone |= set(test_store_crash.POINTS) - test_store_crash.NOT_HERE
    alone |= {
        p.partition(":")[0]
        for p in (
            *test_retention.POINTS,
            *test_notices.POINTS,
            *test_backup.POINTS,
            *test_central_restore.POINTS,
            *test_canary.KILLS,
        )
    }
    alone |= {p.partition(":")[0] for p in (*test_many.POINTS, *test_further.POINTS, *test_media_kills.POINTS)}
    alone |= set(test_edge_keys.POINTS)
    alone |= set(test_verify_crash.POINTS) | {p.partition(":")[0] for p in test_media.POINTS}
    alone |= {*test_keys.POINTS, *test_keys.RESEND}
    alone |= {*test_migration.POINTS, "migrate.step"}
    assert named - here - alone == set()
    assert here - named == set(), "these are no failpoints any more"
    assert len(here) >= 40


def _points(path: Path) -> list[str]:
    return re.findall(r'\bhit\("([\w.]+)"\)', path.read_text())
