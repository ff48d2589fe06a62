"""The fleet's edges: heartbeats and their alarms, clones, the short code, approval, revocation, a new key."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from central.fleet.settings import EdgeAlarms
from central.fleet.watch import look
from formats import canonical, enrolcode
from formats.ids import format_time
from formats.keychange import sign_key_change
from formats.keys import SigningKey
from formats.keyset import KeySet
from formats.wire import Event
from tests.unit.central.central_kit import TestCentral, TestEdge, a_key, an_id
from tests.unit.central.test_central_orders import receipt


@dataclass
class Pulse:
    """One start of a daemon: `beat` is its next heartbeat; words replace members."""

    edge: TestEdge
    session: str
    started: str
    n: int = 0
    instance: str = "ab" * 16

    @classmethod
    def of(cls, edge: TestEdge, **more: Any) -> Pulse:
        return cls(edge, an_id(), format_time(edge.central.wall()), **more)

    def body(self, **changed: Any) -> dict[str, Any]:
        self.n += 1
        return {
            "session": self.session,
            "n": self.n,
            "at": format_time(self.edge.central.wall()),
            "started": self.started,
            "instance": self.instance,
            "policy": "1" * 64,
            "outbox": 0,
            "oldest": 0.0,
            "unsealed": 3.5,
            "log": f"callwarden/{self.edge.edge_id}/{self.instance}",
            "size": 0,
            "root": "",
            "version": "1.0",
            "free": 10**9,
            "spool": 10**8,
            "live": 2,
            "ready": True,
            "why": "",
        } | changed

    async def beat(self, **changed: Any) -> None:
        status, answer = await self.edge.ask("POST", self.edge.path("heartbeat"), self.body(**changed))
        assert status == 200, answer
        running = self.edge.central.running
        assert running is not None
        await running.central.beats.write(running.central)


async def alarms(central: TestCentral) -> list[tuple[str, str]]:
    _, answer = await central.admin("GET", "/v1/alarms")
    return [(one["edge_id"], one["code"]) for one in answer["alarms"]]


async def entries(central: TestCentral, kind: str) -> list[dict[str, Any]]:
    _, answer = await central.admin("GET", "/v1/log")
    found = [canonical.loads(one["entry"]) for one in answer["entries"]]
    return [one["body"] for one in found if isinstance(one, dict) and one["kind"] == kind]


async def shown(central: TestCentral, edge_id: str = "pbx-1") -> Any:
    status, answer = await central.admin("GET", f"/v1/edges/{edge_id}")
    assert status == 200, answer
    return answer


async def watched(central: TestCentral, *, listening: bool = True) -> None:
    assert central.running is not None
    one = central.running.central
    await one.edges.write()
    await one.db.run(lambda conn: look(one, conn, listening=listening))


async def test_the_last_heartbeat_is_kept_and_shown(central: TestCentral, edge: TestEdge) -> None:
    pulse = Pulse.of(edge)
    await pulse.beat(live=1)
    await pulse.beat(live=4, ready=False, why="no AMI link")
    found = await shown(central)
    assert (found["heartbeat"]["live"], found["heartbeat"]["n"], found["heartbeat"]["why"]) == (4, 2, "no AMI link")
    assert found["state"] == "enrolled"
    assert found["alarms"] == {}
    assert found["last_seen_at"]
    assert await central.rows("SELECT count(*) FROM heartbeat") == [(1,)]
    _, listed = await central.admin("GET", "/v1/edges?after=pbx-0&limit=10")
    assert [one["edge_id"] for one in listed["edges"]] == ["pbx-1"]
    assert (await central.admin("GET", "/v1/edges?after=pbx-1"))[1] == {"edges": []}


@pytest.mark.parametrize(
    "changed",
    [{"policy": "x"}, {"n": -1}, {"oldest": "1"}, {"at": "today"}, {"why": "a\nb"}, {"why": "x" * 201}],
)
async def test_a_malformed_heartbeat_is_refused(edge: TestEdge, changed: dict[str, Any]) -> None:
    status, answer = await edge.ask("POST", edge.path("heartbeat"), Pulse.of(edge).body(**changed))
    assert status == 400, answer


async def test_members_of_a_later_version_are_passed_over(central: TestCentral, edge: TestEdge) -> None:
    """Edges are brought up to date before central, or after it: neither goes silent by that."""
    await Pulse.of(edge).beat(more={"of": "it"}, live=5)
    heartbeat = (await shown(central))["heartbeat"]
    assert (heartbeat["live"], "more" in heartbeat) == (5, False)


async def test_an_alarm_is_raised_once_for_each_episode_and_its_end_is_an_entry(
    central: TestCentral, edge: TestEdge
) -> None:
    pulse = Pulse.of(edge)
    late = format_time(central.wall() + timedelta(seconds=90))
    for _ in range(3):
        await pulse.beat(oldest=1000.0, outbox=7, unsealed=61.0, at=late)
    assert sorted(await alarms(central)) == [("pbx-1", f"edge.{one}") for one in ("clock", "lagging", "unsealed")]
    assert "7 events wait" in (await shown(central))["alarms"]["edge.lagging"]
    pulse.n += 1
    await pulse.beat(at=format_time(central.wall() + timedelta(seconds=91)), oldest=1000.0)
    assert {one["code"] for one in await entries(central, "alarm.cleared")} == {"edge.unsealed"}
    central.offset += timedelta(seconds=200)
    await pulse.beat()
    assert {one["code"] for one in await entries(central, "alarm.cleared")} == {
        "edge.unsealed",
        "edge.lagging",
        "edge.clock",
    }
    await pulse.beat(oldest=1000.0)
    assert (await alarms(central)).count(("pbx-1", "edge.lagging")) == 2


async def test_a_silent_edge_is_noticed_and_speaks_again(central: TestCentral, edge: TestEdge) -> None:
    pulse = Pulse.of(edge)
    await pulse.beat()
    central.offset += timedelta(seconds=200)
    await watched(central)
    assert await alarms(central) == []
    central.offset += timedelta(seconds=200)
    await watched(central, listening=False)  # central itself was away
    assert await alarms(central) == []
    await watched(central)
    await watched(central)
    assert await alarms(central) == [("pbx-1", "edge.silent")]
    await pulse.beat()
    await watched(central)
    assert [one["code"] for one in await entries(central, "alarm.cleared")] == ["edge.silent"]


async def test_policies_of_the_majority_and_declared_ones(central: TestCentral) -> None:
    pulses = [Pulse.of(TestEdge(central, f"pbx-{n}")) for n in range(4)]

    async def everyone() -> None:
        for n, pulse in enumerate(pulses):
            await pulse.beat(policy=("2" if n == 3 else "1") * 64)
        await watched(central)

    await everyone()
    assert await alarms(central) == []  # new policies reach a fleet edge by edge
    central.offset += timedelta(minutes=16)
    await everyone()
    await everyone()
    assert await alarms(central) == [("pbx-3", "edge.diverging")]
    assert central.running is not None
    central.running.central.config = replace(central.config, edges=EdgeAlarms(policy="2" * 64))
    await everyone()
    assert sorted(await alarms(central)) == [(f"pbx-{n}", "edge.diverging") for n in range(4)]
    assert [one["edge_id"] for one in await entries(central, "alarm.cleared")] == ["pbx-3"]


async def test_a_majority_is_one_of_edges_with_policies_of_the_same_names(central: TestCentral) -> None:
    """Three in the head office and three branches, of which each time one is late; and one that is like nobody."""
    names = [("sales", "support")] * 3 + [("branch",)] * 3 + [("branch", "sales")]
    edges = [TestEdge(central, f"pbx-{n}") for n in range(7)]
    pulses = [Pulse.of(edge) for edge in edges]
    for edge, policies in zip(edges, names, strict=True):
        # What is no more counts for nothing; the numbers are those of the events.
        gone = policy_event(edge, 1, "branch", ""), policy_event(edge, 2, "branch", None)
        status, answer = await edge.send(*gone, *(policy_event(edge, n, one, "") for n, one in enumerate(policies, 3)))
        assert {one["status"] for one in answer["items"]} == {"accepted"}, (status, answer)
    hashes = ["1", "1", "2", "3", "3", "4", "5"]

    async def everyone() -> list[tuple[str, str]]:
        for digit, pulse in zip(hashes, pulses, strict=True):
            await pulse.beat(policy=digit * 64)
        await watched(central)
        return sorted(await alarms(central))

    assert await everyone() == []
    central.offset += timedelta(minutes=16)
    await everyone()
    assert await everyone() == [("pbx-2", "edge.diverging"), ("pbx-5", "edge.diverging")]
    hashes[2], hashes[5] = "1", "3"
    assert len(await everyone()) == 2
    assert sorted(one["edge_id"] for one in await entries(central, "alarm.cleared")) == ["pbx-2", "pbx-5"]


def policy_event(edge: TestEdge, seq: int, name: str, text: str | None) -> Event:
    """A report of a policy; None: it is no more."""
    document = {"name": name, "text": text}
    version = None if text is None else hashlib.sha256(canonical.dumps(document)).hexdigest()
    at = format_time(edge.central.wall() + timedelta(milliseconds=seq) - timedelta(hours=1))
    data = {"policy": name, "version": version, "at": at, "document": document}
    return edge.event(seq, "policy.loaded", "", data)


async def test_an_audit_log_that_differs_from_the_witnessed_one(central: TestCentral, edge: TestEdge) -> None:
    pulse = Pulse.of(edge)
    log, now = f"callwarden/pbx-1/{pulse.instance}", format_time(central.wall())
    insert = "INSERT INTO witnessed(edge_id, origin, size, root, note, cosigned, at) VALUES ('pbx-1',?,?,?,'','',?)"
    assert central.running is not None
    for size in (10, 20):
        root = bytes([size]) * 32
        await central.running.central.db.run(
            lambda conn, size=size, root=root: conn.execute(insert, (log, size, root, now)).rowcount
        )
    await pulse.beat(size=20, root=(bytes([20]) * 32).hex())
    await pulse.beat(size=10, root=(bytes([10]) * 32).hex())  # what was witnessed just now may have overtaken it
    assert await alarms(central) == []
    await pulse.beat(size=20, root="77" * 32)
    assert await alarms(central) == [("pbx-1", "edge.diverging")]
    await pulse.beat(size=20, root=(bytes([20]) * 32).hex())
    assert len(await entries(central, "alarm.cleared")) == 1
    central.offset += timedelta(seconds=61)
    await pulse.beat(size=15, root="15" * 32)
    assert len(await alarms(central)) == 2
    assert "ends at 15" in (await shown(central))["alarms"]["edge.diverging/audit"]


async def test_two_daemons_with_one_key_are_noticed_and_a_restart_is_not(central: TestCentral, edge: TestEdge) -> None:
    first = Pulse.of(edge)
    await first.beat()
    central.offset += timedelta(seconds=30)
    second = Pulse.of(edge, instance="cd" * 16)  # a restart looks like this
    await second.beat()
    await second.beat()
    late = first.body(at=format_time(central.wall() - timedelta(seconds=31)))
    assert (await edge.ask("POST", edge.path("heartbeat"), late))[0] == 200  # sent before the restart, came after it
    await second.beat()
    assert await alarms(central) == []
    central.offset += timedelta(seconds=30)
    await first.beat()
    await second.beat()
    await first.beat()
    assert await alarms(central) == [("pbx-1", "edge.cloned")]
    assert "with two journals" in (await shown(central))["alarms"]["edge.cloned"]
    central.offset += timedelta(seconds=3700)
    await first.beat()
    assert (await shown(central))["alarms"] == {}
    assert (await shown(central))["state"] == "enrolled"  # noticed, not shut out


async def test_a_copy_whose_clock_was_a_year_ahead_when_it_started_is_noticed(
    central: TestCentral, edge: TestEdge
) -> None:
    first = Pulse.of(edge)
    await first.beat()
    central.offset += timedelta(seconds=30)
    copied = Pulse.of(edge)
    copied.started = format_time(central.wall() + timedelta(days=365))
    await copied.beat()
    late = first.body(at=format_time(central.wall() - timedelta(seconds=15)))
    assert (await edge.ask("POST", edge.path("heartbeat"), late))[0] == 200
    await copied.beat()
    assert await alarms(central) == [], "it may be a restart"
    central.offset += timedelta(seconds=30)
    await first.beat()
    assert await alarms(central) == [("pbx-1", "edge.cloned")]


async def test_a_machine_that_was_copied_while_it_ran_is_noticed(central: TestCentral, edge: TestEdge) -> None:
    one = Pulse.of(edge)
    await one.beat()
    two = replace(one)
    central.offset += timedelta(seconds=1)
    await one.beat()
    central.offset += timedelta(seconds=1)
    await two.beat()  # the same number of the same session once more
    assert await alarms(central) == [("pbx-1", "edge.cloned")]


async def test_two_streams_of_events_under_one_name_are_noticed(central: TestCentral, edge: TestEdge) -> None:
    await edge.send(edge.opened(1, an_id(), key=secrets.token_bytes(32)))
    other = msgspec.structs.replace(edge.opened(1, an_id(), key=secrets.token_bytes(32)), id=an_id())
    for _ in range(2):
        _, answer = await edge.send(other)
        assert answer["items"][0]["status"] == "rejected:event.sequence"
    assert await alarms(central) == [("pbx-1", "edge.cloned")]


async def enrolled(central: TestCentral, edge: TestEdge) -> tuple[int, Any]:
    _, made = await central.admin("POST", "/v1/enrolments", {"edge_id": edge.edge_id})
    body = {"token": made["token"], "edge_id": edge.edge_id, "jwk": edge.key.verify_key.jwk()}
    return await edge.ask("POST", "/v1/enrol", body)


async def test_an_edge_waits_until_its_code_was_compared(central: TestCentral) -> None:
    assert central.running is not None
    running = central.running.central
    running.config = replace(running.config, approve_enrolments=True)
    edge = TestEdge(central, "pbx-2", enrol=False)
    status, answer = await enrolled(central, edge)
    assert (status, answer["state"], answer["certificate"]) == (201, "waiting", None)
    pinned = KeySet.load(canonical.dumps(answer["keyset"]))
    seen = [pinned.with_role(role)[0].kid for role in ("store", "witness")]  # type: ignore[arg-type]
    code = enrolcode.enrolment_code("pbx-2", edge.key.kid, *seen)
    assert (await shown(central, "pbx-2"))["code"] == code
    status, answer = await edge.ask("GET", edge.path("deliveries?after=0&wait=0"))
    assert (status, answer["code"]) == (403, "auth.edge_waiting")
    _, keys = await central.admin("GET", "/v1/keys")
    assert edge.key.kid not in {one["kid"] for one in keys["keys"]}
    status, answer = await central.admin("POST", "/v1/edges/pbx-2/approve", {"code": "0000-0000-0000"})
    assert (status, answer["code"]) == (409, "auth.enrolment_code")
    status, answer = await central.admin("POST", "/v1/edges/pbx-2/approve", {"code": code.lower().replace("-", " ")})
    assert (status, answer["state"]) == (200, "enrolled")
    assert (await edge.ask("GET", edge.path("deliveries?after=0&wait=0")))[0] == 200
    assert [one["by"] for one in await entries(central, "edge.approved")] == ["init"]


def test_a_code_depends_on_every_key_and_forgives_spelling() -> None:
    keys = [os.urandom(32).hex() for _ in range(3)]
    code = enrolcode.enrolment_code("a", *keys)
    assert len(code) == 14
    assert enrolcode.enrolment_code("a", *keys) == code
    others = [enrolcode.enrolment_code("b", *keys)]
    others += [enrolcode.enrolment_code("a", *[k if m != n else "x" for m, k in enumerate(keys)]) for n in range(3)]
    assert code not in others
    assert enrolcode.same_code("oIl0-1111 2222", "0110-1111-2222")
    assert not enrolcode.same_code("", code)


async def test_a_revoked_edge_is_shut_out_everywhere_and_for_good(central: TestCentral, edge: TestEdge) -> None:
    await Pulse.of(edge).beat(oldest=1000.0)
    status, answer = await central.admin("POST", "/v1/edges/pbx-1/revoke", {"reason": "stolen from the rack"})
    assert (status, answer["state"], answer["state_reason"], answer["alarms"]) == (
        200,
        "revoked",
        "stolen from the rack",
        {},
    )
    for method, path in (("POST", "heartbeat"), ("POST", "events"), ("GET", "deliveries?after=0&wait=0")):
        status, answer = await edge.ask(method, edge.path(path), b"{}" if method == "POST" else b"")
        assert (status, answer["code"]) == (403, "auth.edge_revoked"), path
    assert (await central.admin("POST", "/v1/edges/pbx-1/revoke", {"reason": "again"}))[1]["state_reason"].startswith(
        "stolen"
    )
    assert (await enrolled(central, edge))[1]["code"] == "auth.edge_revoked"
    assert (await enrolled(central, TestEdge(central, "pbx-9", key=edge.key, enrol=False)))[1][
        "code"
    ] == "auth.edge_cloned"
    assert ("pbx-1", "edge.revoked") in await alarms(central)
    assert len(await entries(central, "edge.revoked")) == 1
    _, keys = await central.admin("GET", "/v1/keys")
    assert [one["retired"] for one in keys["keys"] if one["role"] == "edge"] == [(await shown(central))["state_at"]]
    assert (await central.admin("POST", "/v1/edges/pbx-1/revoke", {"reason": " "}))[0] == 400
    assert (await central.admin("POST", "/v1/edges/pbx-7/revoke", {"reason": "x"}))[0] == 404


async def test_a_revocation_ends_a_long_poll(central: TestCentral, edge: TestEdge) -> None:
    poll = asyncio.create_task(edge.ask("GET", edge.path("deliveries?after=0&wait=25")))
    assert central.running is not None
    async with asyncio.timeout(10):
        while not central.running.central._doorbells:
            await asyncio.sleep(0.01)
    await central.admin("POST", "/v1/edges/pbx-1/revoke", {"reason": "lost"})
    async with asyncio.timeout(10):
        assert (await poll)[1]["code"] == "auth.edge_revoked"


async def changed_key(edge: TestEdge, old: SigningKey, new: SigningKey, at: str | None = None) -> tuple[int, Any]:
    """The request that `new` signs; the edge has its old key again afterwards unless it worked."""
    at = at or format_time(edge.central.wall())
    edge.key, before = new, edge.key
    answer = await edge.ask("POST", edge.path("key"), {"statement": sign_key_change(edge.edge_id, old, new, at)})
    edge.key = new if answer[0] == 200 else before
    return answer


async def test_a_new_key_is_told_by_the_old_one_and_what_that_signed_counts(
    central: TestCentral, edge: TestEdge
) -> None:
    old, new, thief = edge.key, a_key(), a_key()
    before = receipt(edge, {}, an_id(), an_id(), at=format_time(central.wall()))
    assert (await changed_key(edge, thief, new))[1]["code"] == "auth.key_change"
    assert (await changed_key(edge, old, new, "2020-01-01T00:00:00.000Z"))[0] == 409
    central.offset += timedelta(milliseconds=5)
    assert await changed_key(edge, old, new) == (200, {"kid": new.kid})
    at = (await shown(central))["former_keys"][0]["retired_at"]
    assert await changed_key(edge, old, new, at) == (200, {"kid": new.kid})  # its answer was lost
    assert len(await entries(central, "edge.key_changed")) == 1
    status, answer = await edge.ask("POST", edge.path("receipts"), {"receipts": [before]})
    assert (status, list(answer["results"].values())) == (200, ["accepted"])
    edge.key = old
    late = receipt(edge, {}, an_id(), an_id(), at=format_time(central.wall() + timedelta(seconds=1)))
    assert (await edge.ask("POST", edge.path("receipts"), {"receipts": [before]}))[0] == 401
    edge.key = new
    _, answer = await edge.ask("POST", edge.path("receipts"), {"receipts": [late]})
    assert list(answer["results"].values()) == ["rejected:auth.unknown_key"]
    _, keys = await central.admin("GET", "/v1/keys")
    assert {one["kid"]: one.get("retired") for one in keys["keys"] if one["role"] == "edge"} == {
        new.kid: None,
        old.kid: at,
    }
    assert (await changed_key(edge, new, old))[1][
        "code"
    ] == "auth.edge_cloned"  # no way back to a key that was given up
    other = TestEdge(central, "pbx-2")
    assert (await changed_key(other, other.key, new))[1]["code"] == "auth.edge_cloned"
