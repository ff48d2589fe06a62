"""`callwarden retention` and `callwarden hold`, over the socket and with the daemon stopped; restricted recordings at the door."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from edge.api.desk import Desk
from edge.api.keepingdesk import KeepingDesk
from edge.api.server import make_app, serve
from edge.clock import SystemClock
from edge.consent.retention import House
from edge.consent.units import Period
from edge.number_key import NumberKey
from edge.retention.door import RetentionDoor
from edge.retention.executor import Executor, Means
from formats.keyset import KeySet
from tests.unit.cli import cli_makers as make
from tests.unit.retention.keeping_kit import kept, policy
from tests.unit.retention.retention_kit import NobodyLive

DAY = timedelta(days=1)
OLD = policy(recordings=Period("P1M"))
NUMBER = "+420777123456"


def door_of(edge: make.Edge, files: make.Opened, worker: ThreadPoolExecutor, house: House) -> RetentionDoor:
    async def no_head() -> str | None:
        return None

    key = NumberKey(files.journal, files.slots)
    means = Means(
        journal=files.journal, slots=files.slots, vault=files.vault, clock=SystemClock(), key=edge.key,
        recorder=NobodyLive(), keeper=None, trust=KeySet.of([]), edge_id="pbx-1", head=no_head,  # type: ignore[arg-type]
        worker=worker, terms_of=lambda name: OLD.retention if name == "support" else None, house=lambda: house,
        policies=lambda: ["support"], digest=key.digest, hasher=key.hasher, country=lambda: "CZ",
    )  # fmt: skip
    return RetentionDoor(means, Executor(means))


def served(
    edge: make.Edge, work: Callable[[make.Opened, RetentionDoor], Awaitable[Any]], *, house: House | None = None
) -> Any:
    """`work` while a daemon's door is open."""

    async def go() -> Any:
        with ThreadPoolExecutor(1) as worker:
            async with make.opened(edge) as files:
                door = door_of(edge, files, worker, house or House())
                deps = replace(make.deps(edge, files), retention=door)
                runner = await serve(make_app(deps), edge.loaded.edge.socket)
                try:
                    return await work(files, door)
                finally:
                    await runner.cleanup()

    return asyncio.run(go())


def test_the_plan_says_what_goes_when_and_why_and_what_waits(edge: make.Edge) -> None:
    async def work(files: make.Opened, door: RetentionDoor) -> list[make.Ran]:
        old = await kept(files, datetime.now(UTC) - 40 * DAY, OLD)  # type: ignore[arg-type]
        await kept(files, datetime.now(UTC) - 5 * DAY, OLD)  # type: ignore[arg-type]
        edge.facts["old"] = old  # type: ignore[assignment]
        today = datetime.now(UTC).date().isoformat()
        return [
            await edge.arun("retention", "plan", "--at", today, "--json"),
            await edge.arun("retention", "plan"),
            await edge.arun("retention", "approve"),
            await edge.arun("retention", "approve", "nobody"),
            await edge.arun("retention", "approve", "support", "--edge", "--json"),
            await edge.arun("retention", "plan", "--at", today, "--policy", "support", "--json"),
            await edge.arun("retention", "run"),
            await edge.arun("retention", "clock-ok"),
            await edge.arun("retention", "plan", "--at", "tomorrow"),
        ]

    now, words, usage, unknown, approved, after, run, clock, bad = served(edge, work)
    (item,) = now.json["items"]
    old: Any = edge.facts["old"]
    assert (item["class"], item["id"], item["state"]) == ("recordings", old.recording_id, "waits")
    assert item["why"] == "retention.recordings of the policy it began under"
    assert item["bytes"] > 0
    total = now.json["totals"]["recordings"]
    assert (total["goes"], total["waits"], total["later"], total["held"]) == (0, 1, 1, 0)
    assert {one["policy"]: one["acts"] for one in now.json["policies"]} == {"support": False, "": False}
    assert (
        "policy support: nothing goes until somebody approves its terms: callwarden retention approve support"
        in words.out
    )
    assert "recordings: P1M" in words.out
    assert (usage.code, unknown.code, bad.code) == (2, 5, 2)
    assert "recordings: P1M" in approved.json["approved"]["support"]
    assert after.json["items"][0]["state"] == "goes"
    assert run.out.startswith("looking")
    assert clock.out == "nothing was odd about the clock\n"
    stopped = edge.run("retention", "plan", "--json")
    assert stopped.code == 0, stopped.err
    assert len(stopped.json["items"]) == 2, "in 30 days both are over"
    assert edge.run("retention", "run").code == 4


def test_a_hold_is_placed_by_one_and_released_by_two(edge: make.Edge) -> None:
    async def work(files: make.Opened, door: RetentionDoor) -> list[Any]:
        new = await kept(files, datetime.now(UTC) - DAY, OLD, number=NUMBER)  # type: ignore[arg-type]
        person = await edge.arun(
            "hold",
            "place",
            "--person",
            "777 123 456",
            "--reason",
            "claim",
            "--case",
            "c-1",
            "--label",
            "claim 7",
            "--json",
        )
        hold_id = person.json["hold_id"]
        ran = [
            person,
            await edge.arun("hold", "place", "--recording", new.recording_id[:8], "--reason", "claim"),
            await edge.arun("hold", "list"),
            await edge.arun("hold", "release", hold_id[:8]),
            await edge.arun("hold", "release", hold_id[:8]),
            await edge.arun("hold", "place", "--reason", "claim"),
            await edge.arun("hold", "place", "--call", "0" * 32, "--reason", "claim"),
            await edge.arun("hold", "release", "abcdef"),
            await edge.arun("recordings", "--json"),
        ]
        deps = replace(make.deps(edge, files), retention=door)
        second = await KeepingDesk(deps, Desk(deps)).release(hold_id, os.getuid() + 1)
        return [*ran, second]

    person, recording, listed, first, again, none, unknown, no_hold, recordings, second = served(edge, work)
    assert (person.code, person.json["calls"], person.json["target"]) == (0, 1, None), person.err
    assert person.json["placed_by"] == f"uid:{os.getuid()}"
    assert recording.out.startswith("hold ")
    assert recording.out.endswith(" is in force on this recording\n")
    assert not re.search(r"777\s?123\s?456", listed.out), "nobody reads the number off a hold"
    assert "1 calls of a person" in listed.out
    assert (first.code, again.code, none.code, unknown.code, no_hold.code) == (75, 6, 2, 5, 5)
    assert "a second person has to run the same command" in first.out
    assert "[command.same_person]" in again.err
    assert recordings.json[0]["held"] is True
    assert second["released_by"] == f"uid:{os.getuid() + 1}"
    assert len(edge.run("hold", "list", "--json").json) == 1, "with the daemon stopped, too"
    assert len(edge.run("hold", "list", "--released", "--json").json) == 2
    assert edge.run("hold", "place", "--person", NUMBER, "--reason", "claim").code == 4


def test_what_is_restricted_is_read_for_legal_claims_only(edge: make.Edge, filled: make.Edge) -> None:
    two: Any = filled.facts["two"]

    async def work(files: make.Opened, door: RetentionDoor) -> list[make.Ran]:
        out = filled.loaded.edge.state / "out.wav"
        identity = filled.paths["operator_identity"]
        export = ("export", two.recording_id, "-i", identity, "-o", out)
        ran = [await filled.arun(*export)]
        out.unlink()
        ran.append(
            await filled.arun("hold", "restrict", "--recording", two.recording_id, "--reason", "disputed", "--json")
        )
        for more in (
            (),
            ("--purpose", "quality"),
            ("--purpose", "legal_claims"),
            ("--purpose", "legal_claims", "--case", "c-7"),
        ):
            ran.append(await filled.arun(*export, *more))
        others: tuple[tuple[Any, ...], ...] = (
            ("waveform", two.recording_id, "-i", identity),
            ("evidence", two.call.call_id, "--form", "json"),
        )
        for way in others:
            ran.append(await filled.arun(*way, "--purpose", "quality"))
            ran.append(await filled.arun(*way, "--purpose", "legal_claims", "--case", "c-7"))
        return ran

    free, placed, plain, purpose, no_case, claim, *others = served(filled, work)
    assert [one.code for one in others] == [6, 0, 6, 0], [one.err for one in others]
    assert (free.code, placed.code) == (0, 0), (free.err, placed.err)
    assert placed.json["kind"] == "restriction"
    assert (plain.code, purpose.code, no_case.code) == (6, 6, 6)
    assert "[command.restricted]" in plain.err
    assert claim.code == 0, claim.err
