"""Incidents: alarms open and join them, the 72 hours, who may take which step, what the authority is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from central.conn import Conn
from central.fleet import judge
from central.fleet.episodes import settle
from central.hooks.settings import Outgoing
from central.incidents import bulk, clock, duty, kinds
from formats import canonical
from formats.ids import format_time
from formats.orders import sign_order
from formats.orders.claims import OrderClaims, decode
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id
from tests.unit.central.hooks_kit import a_hook, a_receiver, a_secret, telling

AWARE = datetime(2026, 3, 27, 22, 30, tzinfo=UTC)


# ------------------------------------------------------------ pure


@pytest.mark.parametrize(
    ("after", "state"),
    [
        (timedelta(), "running"), (timedelta(hours=47, minutes=59), "running"), (timedelta(hours=48), "due"),
        (timedelta(hours=71, minutes=59), "due"), (timedelta(hours=72), "overdue"), (timedelta(days=9), "overdue"),
    ],
)  # fmt: skip
def test_the_clock(after: timedelta, state: str) -> None:
    """Over a change to summer time too: the hours are real ones."""
    found = clock.standing(clock=True, state="open", notifiable=None, aware_at=AWARE, now=AWARE + after)
    assert (found.state, found.deadline) == (state, datetime(2026, 3, 30, 22, 30, tzinfo=UTC))


def test_when_the_clock_stands() -> None:
    late: dict[str, Any] = {"aware_at": AWARE, "now": AWARE + timedelta(days=30)}
    assert clock.standing(clock=False, state="open", notifiable=None, **late).state == "none"
    assert clock.standing(clock=True, state="assessed", notifiable=False, **late).state == "stopped"
    assert clock.standing(clock=True, state="notified", notifiable=True, **late).state == "stopped"
    assert clock.standing(clock=True, state="closed", notifiable=None, **late).state == "stopped"
    assert clock.standing(clock=True, state="assessed", notifiable=True, **late).state == "overdue"


def test_every_cause_is_a_kind_with_a_report_and_a_severity() -> None:
    from central.incidents.report import _NATURE

    for cause in kinds.CAUSES.values():
        assert cause.kind in kinds.KINDS
        assert cause.severity in kinds.SEVERITIES
    assert set(_NATURE) == set(kinds.BY_HAND) == set(kinds.KINDS)
    assert set(kinds.KINDS) - {cause.kind for cause in kinds.CAUSES.values()} == {"other"}


def test_every_alarm_of_the_table_is_raised_somewhere() -> None:
    """A code that was renamed, or that is raised under its bare name, would make no incident and nobody would notice."""
    root = Path(__file__).parents[3]
    files = [*root.glob("edge/**/*.py"), *root.glob("central/**/*.py")]
    sources = "".join(one.read_text() for one in files if one.parts[-2:] != ("incidents", "kinds.py"))
    assert [code for code in kinds.CAUSES if f'"{code}"' not in sources] == []
    page = (root / "docs" / "incidents.md").read_text()
    assert [code for code in kinds.CAUSES if f"`{code.partition('/')[0]}`" not in page] == []


# ------------------------------------------------------------ with a central


class World:
    """A central whose incidents are asked for by role."""

    def __init__(self, central: TestCentral) -> None:
        self.central, self.edge, self.seq = central, TestEdge(central), 0
        self.tokens: dict[str, str] = {}

    async def alarm(self, code: str, message: str = "", where: str = "", edge: TestEdge | None = None) -> None:
        self.seq += 1
        edge = edge or self.edge
        event = edge.event(
            self.seq, "alarm.raised", "", {"code": code, "message": message, "where": where, "at": "now"}
        )
        _, answer = await edge.send(event)
        assert answer["items"][0]["status"] == "accepted"

    async def listed(self) -> list[dict[str, Any]]:
        _, answer = await self.central.admin("GET", "/v1/incidents")
        found: list[dict[str, Any]] = answer["incidents"]
        return found

    async def post(self, step: str, body: dict[str, Any], role: str = "admin") -> tuple[int, Any]:
        (one, *_) = reversed(await self.listed())
        path = f"/v1/incidents/{one['incident_id']}/{step}"
        return await self.central.admin("POST", path, body, await self.token(role))

    async def token(self, role: str) -> str:
        if role not in self.tokens:
            status, made = await self.central.admin("POST", "/v1/tokens", {"role": role, "label": role})
            assert status == 201, made
            self.tokens[role] = made["token"]
        return self.tokens[role]

    async def look(self) -> None:
        assert self.central.running is not None
        await duty.look(self.central.running.central)

    async def alarms(self) -> list[str]:
        rows = await self.central.rows("SELECT code FROM alarm WHERE code LIKE 'incident.%' ORDER BY id")
        return [row[0] for row in rows]


@pytest.fixture
async def world(tmp_path: Path, engine: str) -> AsyncIterator[World]:
    async with a_receiver(tmp_path / "r") as receiver:
        hook = a_hook(receiver, a_secret(tmp_path / "hook.secret"), "crm", "incident.*")
        async with telling(tmp_path / "central", engine, Outgoing((hook,))) as central:
            yield World(central)


async def test_an_alarm_opens_and_the_same_cause_joins(world: World) -> None:
    recording = an_id()
    await world.alarm("spool.punch", "sealed bytes cannot be freed")
    await world.alarm("spool.unsealable", "it failed", recording)
    await world.alarm("prompt.not_played")  # no incident
    await world.alarm("watchdog.rogue_monitor", "PJSIP/+420777123456")
    other = TestEdge(world.central, "pbx-2")
    await world.alarm("spool.unsealable", edge=other)
    found = await world.listed()
    assert [(one["kind"], one["edge_id"], one["severity"], one["alarms"], one["clock"]) for one in found] == [
        ("failed_seal", "pbx-1", "high", 2, "running"),  # the graver of its alarms
        ("rogue_recording", "pbx-1", "high", 1, "running"),
        ("failed_seal", "pbx-2", "high", 1, "running"),
    ]
    _, shown = await world.central.admin("GET", f"/v1/incidents/{found[0]['incident_id']}")
    assert [(one["step"], one["subject"]) for one in shown["entries"]] == [("alarm", ""), ("alarm", recording)]
    told = await world.central.rows("SELECT type, body FROM hook_message ORDER BY seq")
    assert [row[0] for row in told] == ["incident.opened", "incident.changed", "incident.opened", "incident.opened"]
    assert all("777123456" not in row[1] for row in told)
    world.central.offset = clock.EPISODE + timedelta(minutes=1)
    await world.alarm("spool.unsealable")
    assert len(await world.listed()) == 4  # another episode


async def test_a_clock_that_begins_later_counts_from_then(world: World) -> None:
    await world.alarm("vault.io")
    assert (await world.listed())[0]["clock"] == "none"
    world.central.offset = timedelta(hours=20)
    await world.alarm("vault.damaged")
    (one,) = await world.listed()
    assert (one["clock"], one["aware_at"], one["last_at"]) == ("running", one["last_at"], one["last_at"])
    assert one["opened_at"] < one["aware_at"]


async def test_a_fork_of_an_audit_log_is_an_incident(world: World) -> None:
    """Central's own alarm, through the place where all are made."""
    assert world.central.running is not None
    inner = world.central.running.central
    await inner.db.run(lambda conn: inner.alarm(conn, "pbx-1", "audit.fork", "an entry differs"))
    (one,) = await world.listed()
    assert (one["kind"], one["severity"], one["state"]) == ("audit_fork", "critical", "open")


@pytest.mark.parametrize(("code", "expected"), [(judge.AUDIT, ["audit_fork"]), (judge.POLICY, [])])
async def test_a_log_that_is_not_the_witnessed_one_is_an_incident(world: World, code: str, expected: list[str]) -> None:
    """Two causes of one alarm code: other policies are none."""
    assert world.central.running is not None
    inner = world.central.running.central
    await inner.db.run(lambda conn: settle(inner, conn, "pbx-1", code, "another root at 7"))
    found = await world.listed()
    assert [(one["kind"], one["severity"], one["clock"]) for one in found] == [
        (k, "critical", "running") for k in expected
    ]
    assert [row[0] for row in await world.central.rows("SELECT code FROM alarm")] == ["edge.diverging"]


async def test_an_edge_that_cannot_seal_is_an_incident_whatever_stops_it(world: World) -> None:
    for code in ("journal.full", "journal.io", "vault.slots_full", "vault.io"):
        await world.alarm(code, "sealing failed; the audio stays in the spool for now")
    (one,) = await world.listed()
    assert (one["kind"], one["severity"], one["clock"], one["alarms"]) == ("failed_seal", "medium", "none", 4)
    await world.alarm("vault.missing")
    await world.alarm("vault.short")
    (one,) = await world.listed()
    assert (one["severity"], one["clock"], one["alarms"]) == ("high", "running", 6)


async def test_an_order_that_erases_a_policy_is_a_bulk_deletion(world: World) -> None:
    asked = {"cmd": "erase", "target": {"kind": "policy", "id": "support"}, "reason": "asked for"}
    status, draft = await world.central.admin("POST", "/v1/orders/draft", asked)
    assert status == 200, draft
    order = sign_order(decode(canonical.dumps(draft["claims"]), OrderClaims), (world.central.dpo,))
    assert (await world.central.admin("POST", "/v1/orders", {"order": order}))[0] == 202
    assert [(one["kind"], one["severity"], one["edge_id"]) for one in await world.listed()] == [
        ("bulk_deletion", "high", "")
    ]


@pytest.mark.parametrize(
    ("of_edge", "had", "everywhere", "expected"),
    [
        (20, 20, 20, False), (21, 21, 21, True), (21, 209, 21, True), (21, 210, 21, False), (22, 219, 22, True),
        (5, 5, 100, False), (1, 1, 101, True), (101, 5000, 101, True),
    ],
)  # fmt: skip
def test_when_orders_of_one_key_are_a_bulk_deletion(of_edge: int, had: int, everywhere: int, expected: bool) -> None:
    assert bulk.passes(of_edge, had, everywhere, 100) is expected
    highest = bulk.passes(of_edge, had, everywhere, 1_000_000)
    assert highest is (expected and everywhere <= 100), "`bulk_erasures` moves the limit of all edges together alone"


async def test_many_single_erasures_of_one_key_are_one_incident(world: World) -> None:
    """A call of 19 recordings, then single ones; a repeat counts once, an old one not, and the alarm comes once for all."""
    call, names = an_id(), [an_id() for _ in range(27)]
    opened = [world.edge.opened(n, name, key=None) for n, name in enumerate(names, 1)]
    for event in opened[:19]:
        event.data["call_id"] = call
    opened.append(world.edge.event(30, "call.opened", call, {"call_id": call}))
    assert all(one["status"] == "accepted" for one in (await world.edge.send(*opened))[1]["items"])
    assert not await bulk_orders(world, ("recording", names[26]))
    world.central.offset = timedelta(hours=25)
    assert not await bulk_orders(
        world, ("call", call), ("recording", names[3]), ("recording", names[19]), ("recording", names[19])
    )
    assert len(await bulk_orders(world, ("recording", names[20]), ("recording", names[21]))) == 1
    (one,) = await world.listed()
    assert (one["kind"], one["severity"], one["edge_id"], one["clock"], one["alarms"]) == (
        "bulk_deletion", "high", "", "running", 1,
    )  # fmt: skip
    (row,) = await world.central.rows("SELECT message FROM alarm WHERE code='order.many'")
    assert f"the key {world.central.dpo.kid[:16]} named 21 recordings within 24 hours, 21 of them of pbx-1" in row[0]


async def test_what_one_key_erases_at_all_edges_is_counted_together(world: World) -> None:
    assert world.central.running is not None
    inner = world.central.running.central
    inner.config = replace(inner.config, bulk_erasures=4)
    for n in range(4):
        edge, name = TestEdge(world.central, f"branch-{n}"), an_id()
        await edge.send(edge.opened(1, name, key=None), edge.opened(2, other := an_id(), key=None))
        assert len(await bulk_orders(world, ("recording", name), ("recording", other))) == (n >= 2)
    assert [(one["kind"], one["alarms"]) for one in await world.listed()] == [("bulk_deletion", 1)]


async def test_what_an_edge_has_is_counted_in_the_index_alone(world: World) -> None:
    """Under the log's lock, of an edge with millions of recordings, most of them erased. SQLite says its plan in advance."""
    names = [an_id() for _ in range(4)]
    await world.edge.send(*(world.edge.opened(n, name, key=None) for n, name in enumerate(names, 1)))
    if not world.central.postgres:
        plan = [row[3] for row in await world.central.rows(f"EXPLAIN QUERY PLAN {bulk.HAS}", "pbx-1", "pbx-1", 230)]
        looks = [line for line in plan if "recording" in line]
        assert looks == [
            f"SEARCH recording USING COVERING INDEX recording_edge (edge_id=? AND state{side}?)" for side in "<>"
        ]
    assert world.central.running is not None
    inner = world.central.running.central

    def counted(conn: Conn) -> list[int]:
        conn.execute("UPDATE recording SET state='erased' WHERE recording_id IN (?,?)", names[:2])
        conn.execute("UPDATE recording SET state='a word before' WHERE recording_id=?", names[2:3])
        conn.execute("INSERT INTO bulk_named(kid, recording_id, edge_id, at) VALUES ('k',?,'pbx-1','')", names[:1])
        return [bulk._had(conn, *asked) for asked in (("k", "pbx-1", 9), ("other", "pbx-1", 9), ("other", "pbx-1", 1))]

    assert await inner.db.run(counted) == [3, 2, 1]


async def bulk_orders(world: World, *targets: tuple[str, str]) -> list[str]:
    """Erase each by an order of its own; the alarms about that so far."""
    for kind, name in targets:
        asked = {"cmd": "erase", "target": {"kind": kind, "id": name}, "reason": "asked for"}
        status, draft = await world.central.admin("POST", "/v1/orders/draft", asked)
        assert status == 200, draft
        order = sign_order(decode(canonical.dumps(draft["claims"]), OrderClaims), (world.central.dpo,))
        assert (await world.central.admin("POST", "/v1/orders", {"order": order}))[0] == 202
    return [row[0] for row in await world.central.rows("SELECT message FROM alarm WHERE code='order.many'")]


async def test_the_clock_is_said_once_at_24_hours_and_once_when_over(world: World) -> None:
    await world.alarm("edge.cloned")
    for hours, said in (
        (47, []),
        (49, ["incident.due"]),
        (71, ["incident.due"]),
        (73, ["incident.due", "incident.overdue"]),
    ):
        world.central.offset = timedelta(hours=hours)
        await world.look()
        await world.look()
        assert await world.alarms() == said
    told = await world.central.rows("SELECT type FROM hook_message ORDER BY seq")
    assert [row[0] for row in told] == ["incident.opened", "incident.due", "incident.overdue"]


async def test_an_assessment_stops_the_clock(world: World) -> None:
    await world.alarm("edge.cloned")
    assert (await world.post("assess", {"notifiable": False, "text": "a test machine"}))[0] == 200
    world.central.offset = timedelta(hours=80)
    await world.look()
    assert await world.alarms() == []
    assert (await world.listed())[0]["clock"] == "stopped"
    code, _ = await world.post("assess", {"notifiable": True, "text": "it was none after all"})  # and starts it again
    assert code == 200
    await world.look()
    assert await world.alarms() == ["incident.overdue"]


@pytest.mark.parametrize("notified", [False, True])
async def test_an_alarm_after_a_verdict_is_an_incident_of_its_own(world: World, notified: bool) -> None:
    await world.alarm("edge.cloned")
    assert (await world.post("acknowledge", {"text": "looking"}))[0] == 200
    await world.alarm("edge.cloned")  # nobody has judged it yet: it joins
    assert (await world.post("assess", {"notifiable": notified, "text": "x"}))[0] == 200
    if notified:
        assert (await world.post("notified", {"text": "no. 7"}))[0] == 200
    world.central.offset = timedelta(hours=2)
    await world.alarm("edge.cloned")
    first, second = await world.listed()
    assert (first["alarms"], first["clock"]) == (2, "stopped")
    assert (second["alarms"], second["clock"], second["state"]) == (1, "running", "open")
    assert second["aware_at"] == second["opened_at"] > first["last_at"]
    told = await world.central.rows("SELECT type, body FROM hook_message ORDER BY seq")
    opened = [row[1] for row in told if row[0] == "incident.opened"]
    assert len(opened) == 2
    assert second["incident_id"] in opened[1]


async def test_the_steps_and_what_stands_against_them(world: World) -> None:
    await world.alarm("watchdog.rogue_monitor")
    for step, body, status in (
        ("close", {"text": "nothing"}, 409),  # its clock runs
        ("notified", {"text": "told"}, 409),
        ("acknowledge", {"text": "looking"}, 200),
        ("acknowledge", {"text": "looking"}, 409),
        ("notes", {"text": "the agent pressed record"}, 201),
        ("notes", {"text": " "}, 400),
        ("assess", {"notifiable": "yes", "text": "x"}, 400),
        ("assess", {"notifiable": True, "text": "x", "aware_at": "2999-01-01T00:00:00.000Z"}, 400),
        ("assess", {"notifiable": True, "text": "x", "facts": {"colour": "red"}}, 400),
        ("assess", {"notifiable": True, "text": "heard by a third party", "facts": {"measures": "stopped"}}, 200),
        ("close", {"text": "done"}, 409),  # notifiable, and nobody was told
        ("notified", {"text": "the authority, no. 7"}, 200),
        ("close", {"text": "done"}, 200),
        ("assess", {"notifiable": False, "text": "x"}, 409),
    ):
        code, answer = await world.post(step, body)
        assert (step, code) == (step, status), answer
    (one,) = await world.listed()
    assert (one["state"], one["notifiable"], one["facts"]) == ("closed", True, {"measures": "stopped"})
    _, log = await world.central.admin("GET", "/v1/log")
    said = [entry["entry"] for entry in log["entries"] if '"kind":"incident.' in entry["entry"]]
    assert len(said) == 6  # opened, and each step that was taken
    assert all("third party" not in entry for entry in said)


async def test_what_people_said_does_not_vanish_behind_alarms(world: World) -> None:
    for code in ("watchdog.rogue_monitor", "edge.cloned"):
        await world.alarm(code, "0")
    await world.post("notes", {"text": "in the middle"})
    (_, one) = await world.listed()
    assert world.central.running is not None
    inner = world.central.running.central

    def job(conn: Conn) -> None:
        for n in range(1, 1200):
            inner.alarm(conn, "pbx-1", "edge.cloned", str(n))

    await inner.db.run(job)
    await world.post("acknowledge", {"text": "looking"})
    _, shown = await world.central.admin("GET", f"/v1/incidents/{one['incident_id']}")
    assert [(e["step"], e["text"]) for e in shown["entries"] if e["who"]] == [
        ("note", "in the middle"),
        ("acknowledge", "looking"),
    ]
    alarms = [int(e["text"].rpartition(": ")[2]) for e in shown["entries"] if not e["who"]]
    assert alarms == [*range(100), *range(1100, 1200)]
    assert shown["left_out"] == 1000
    _, answer = await world.central.admin("GET", f"/v1/incidents/{one['incident_id']}/report")
    assert "1000 alarms between" in answer["text"]
    assert "looking" in answer["text"]


async def test_another_awareness_leaves_both_times(world: World) -> None:
    await world.alarm("edge.cloned")
    before = (await world.listed())[0]["aware_at"]
    aware = format_time(world.central.wall() - timedelta(hours=30))
    asked = {"notifiable": True, "text": "x" * 4000, "aware_at": aware}
    code, shown = await world.post("assess", asked)
    assert (code, shown["aware_at"], shown["left_out"]) == (200, aware, 0)
    said = shown["entries"][-1]["text"]
    assert said == f"aware since {aware} instead of {before}; notifiable: {asked['text']}"
    await world.post("assess", {"notifiable": True, "text": "again", "aware_at": aware})
    _, log = await world.central.admin("GET", "/v1/log")
    entries = [json.loads(one["entry"]) for one in log["entries"]]
    bodies = [one["body"] for one in entries if one["kind"] == "incident.assess"]
    assert [(one.get("aware_before"), one.get("aware_at")) for one in bodies] == [(before, aware), (None, None)]


async def test_each_role_does_its_part(world: World) -> None:
    await world.alarm("watchdog.rogue_monitor")
    assess = {"notifiable": False, "text": "x"}
    for role, step, body, status in (
        ("auditor", "acknowledge", {"text": "x"}, 403), ("auditor", "notes", {"text": "x"}, 403),
        ("supervisor", "notes", {"text": "x"}, 403), ("ops", "assess", assess, 403), ("ops", "close", {"text": "x"}, 403),
        ("ops", "acknowledge", {"text": "x"}, 200), ("ops", "notes", {"text": "x"}, 201), ("dpo", "assess", assess, 200),
        ("dpo", "close", {"text": "x"}, 200),
    ):  # fmt: skip
        assert ((await world.post(step, body, role))[0], role, step) == (status, role, step)
    for role, status in (("auditor", 200), ("ops", 200), ("dpo", 200), ("supervisor", 403)):
        assert (await world.central.admin("GET", "/v1/incidents", token=await world.token(role)))[0] == status
    (one,) = await world.listed()
    _, shown = await world.central.admin("GET", f"/v1/incidents/{one['incident_id']}")
    assert [entry["who"] for entry in shown["entries"]] == ["", "ops", "ops", "dpo", "dpo"]


async def test_opened_by_hand_with_an_earlier_awareness(world: World) -> None:
    aware = format_time(world.central.wall() - timedelta(hours=50))
    body = {"kind": "key_lost", "edge_id": "pbx-1", "text": "the DPO's laptop was stolen", "aware_at": aware}
    code, made = await world.central.admin("POST", "/v1/incidents", body)
    assert (code, made["clock"], made["aware_at"]) == (201, "due", aware)
    for wrong in ({"kind": "fire"}, {"edge_id": "pbx-9"}, {"aware_at": "yesterday"}, {"text": ""}):
        assert (await world.central.admin("POST", "/v1/incidents", body | wrong))[0] in (400, 404)


async def test_the_report_has_what_the_article_asks_for(world: World) -> None:
    recording = an_id()
    await world.edge.send(world.edge.opened(100, recording, key=None))
    await world.alarm("spool.unsealable", "bad\x1b[2J\nnews", recording)
    (one,) = await world.listed()
    path = f"/v1/incidents/{one['incident_id']}/report"
    _, answer = await world.central.admin("GET", path)
    for words in (
        "(a)",
        "(b)",
        "(c)",
        "(d)",
        "Upper bound: 1 recordings",
        "1 recordings or calls are named",
        recording,
    ):
        assert words in answer["text"]
    assert "(to be completed)" in answer["text"]
    assert "\x1b" not in answer["text"]
    facts = {"contact": "dpo@example.org", "subjects": "about 3", "measures": "disk replaced"}
    await world.post("assess", {"notifiable": True, "text": "speech lost", "facts": facts})
    _, answer = await world.central.admin("GET", path)
    for words in facts.values():
        assert words in answer["text"]
    assert "(to be completed)" not in answer["text"]
    assert (await world.central.admin("GET", path, token=await world.token("ops")))[0] == 403
