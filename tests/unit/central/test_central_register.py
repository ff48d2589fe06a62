"""What edges report of their policies becomes a register at central, on both engines, and dates of review alarm."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from central import move, setup
from central.config import load
from central.hooks.settings import Mail, Outgoing, Webhook
from central.media.settings import MediaConfig
from central.postgres import once
from central.register import reviews
from central.register.facts import configured
from formats import canonical
from formats.ids import format_time
from formats.register import KINDS, Document
from tests.unit.central.central_kit import TestCentral, TestEdge, a_central, an_id
from tests.unit.register.register_kit import CONFIG, REGISTER, data

OTHER = CONFIG.replace('remember = "P30D"', 'remember = "P60D"')


def at(central: TestCentral, **ago: float) -> str:
    return format_time(central.wall() - timedelta(**ago))


async def report(edge: TestEdge, seq: int, reports: dict[str, dict[str, Any]], when: str) -> int:
    """The events of all policies from number `seq` on; the next number."""
    events = [edge.event(seq + n, "policy.loaded", "", {**one, "at": when}) for n, one in enumerate(reports.values())]
    status, answer = await edge.send(*events)
    assert status == 200
    assert {item["status"] for item in answer["items"]} <= {"accepted", "duplicate"}
    return seq + len(events)


def state(central: TestCentral, text: str = REGISTER) -> None:
    """Write `register.toml` and have the running central read it."""
    file = central.folder / "register.toml"
    file.write_text(text)
    assert central.running is not None
    config = central.running.central.config
    central.running.central.config = replace(config, register=file)


def rows(document: Any, policy: str) -> list[dict[str, tuple[str, ...]]]:
    return [
        {row["key"]: tuple(row["values"]) for row in section["rows"]}
        for section in document["sections"]
        if section["key"].startswith(f"{policy}@")
    ]


async def test_reports_become_the_register_with_version_edge_and_since(central: TestCentral, tmp_path: Path) -> None:
    one, two = TestEdge(central, "pbx-1"), TestEdge(central, "pbx-2")
    early, late = at(central, days=3), at(central, days=1)
    await report(one, 1, data(tmp_path), early)
    seq = await report(two, 1, data(tmp_path), late)
    state(central)
    status, found = await central.admin("GET", "/v1/register/register")
    assert status == 200
    (support,) = rows(found, "support")
    assert support["in_force"] == (f"pbx-1, since {early}", f"pbx-2, since {late}")
    assert support["review_by"] == ("2027-03-31",)
    assert support["version"] == (data(tmp_path)["support"]["version"],)
    # Another version at one of them, and one policy less.
    newest = at(central, hours=1)
    changed = data(tmp_path, OTHER)
    await report(two, seq, {"support": changed["support"], "doctors": {"policy": "doctors", "version": None}}, newest)
    _, found = await central.admin("GET", "/v1/register/register")
    assert {one["in_force"] for one in rows(found, "support")} == {
        (f"pbx-1, since {early}",),
        (f"pbx-2, since {newest}",),
    }
    (doctors,) = rows(found, "doctors")
    assert doctors["in_force"] == (f"pbx-1, since {early}",)
    _, then = await central.admin("GET", f"/v1/register/register?until={at(central, hours=2)}")
    assert len(rows(then, "support")) == 1
    _, changes = await central.admin("GET", f"/v1/register/changes?since={at(central, hours=2)}")
    assert rows(changes, "support")[0]["settings"] == ("remember: P30D → P60D",)
    assert [section["key"] for section in changes["sections"]] == ["general", "doctors@pbx-2", "support@pbx-2"]
    _, listed = await central.admin("GET", "/v1/policies")
    assert len(listed["policies"]) == 8
    texts = await central.rows("SELECT count(*) FROM policy_report")
    assert texts == [(5,)], "the same report of two edges is one text"


async def test_a_version_stands_since_it_came_whatever_else_changes(
    central: TestCentral, edge: TestEdge, tmp_path: Path
) -> None:
    early = at(central, days=9)
    seq = await report(edge, 1, data(tmp_path), early)
    seq = await report(edge, seq, data(tmp_path, CONFIG.replace('waive = ["cow-filesystem"]', "")), at(central, days=5))
    _, found = await central.admin("GET", "/v1/register/dpia?policy=support")
    (support,) = rows(found, "support")
    assert support["in_force"] == (f"pbx-1, since {early}",)
    assert not any("cow-filesystem" in one for one in support["weaknesses"])
    # A repeat with an old time, as a resend or a network brings it, is no news.
    before = await central.rows("SELECT count(*) FROM edge_policy")
    await report(edge, seq, data(tmp_path), early)
    assert await central.rows("SELECT count(*) FROM edge_policy") == before


async def test_a_clock_that_was_ahead_does_not_stand_in_the_way(
    central: TestCentral, edge: TestEdge, tmp_path: Path
) -> None:
    seq = await report(edge, 1, data(tmp_path), "2099-01-01T00:00:00.000Z")
    central.offset = timedelta(minutes=1)
    await report(edge, seq, data(tmp_path, OTHER), at(central))
    _, found = await central.admin("GET", "/v1/register/dpia?policy=support")
    assert "remember = P60D" in rows(found, "support")[0]["settings"]


async def test_a_clock_that_is_behind_does_not_bring_back_what_was_replaced(
    central: TestCentral, edge: TestEdge, tmp_path: Path
) -> None:
    seq = await report(edge, 1, data(tmp_path), at(central, hours=1))
    central.offset = timedelta(minutes=1)
    await report(edge, seq, data(tmp_path, OTHER), at(central, days=400))
    _, found = await central.admin("GET", "/v1/register/dpia?policy=support")
    assert "remember = P60D" in rows(found, "support")[0]["settings"]


async def test_what_a_revoked_edge_ran_is_marked_so_from_then_on(
    central: TestCentral, edge: TestEdge, tmp_path: Path
) -> None:
    early = at(central, days=3)
    await report(edge, 1, data(tmp_path), early)
    before = at(central)
    central.offset = timedelta(seconds=5)
    assert (await central.admin("POST", "/v1/edges/pbx-1/revoke", {"reason": "stolen"}))[0] == 200
    ((when,),) = await central.rows("SELECT state_at FROM edge")
    for query, said in (("", f"; revoked on {when}: nothing is known of it since"), (f"?until={before}", "")):
        _, found = await central.admin("GET", f"/v1/register/register{query}")
        assert rows(found, "support")[0]["in_force"] == (f"pbx-1, since {early}{said}",)


async def test_a_policy_that_is_gone_is_in_the_register_while_recordings_under_it_are_left(
    central: TestCentral, edge: TestEdge, tmp_path: Path
) -> None:
    early, ended = at(central, days=3), at(central, days=1)
    seq = await report(edge, 1, data(tmp_path), early)
    gone: dict[str, Any] = {name: {"policy": name, "version": None} for name in ("support", "orders")}
    seq = await report(edge, seq, gone, ended)
    _, found = await central.admin("GET", "/v1/register/register")
    assert not rows(found, "support")
    call, recording = an_id(), an_id()
    told = {"recording_id": recording, "call_id": call}
    await edge.send(
        edge.event(seq, "call.opened", call, {"call_id": call, "policy_id": "support"}),
        edge.event(seq + 1, "recording.sealed", recording, {**told, "state": "sealed"}),
    )
    for kind in ("register", "dpia", "recipients", "notices", "balancing"):
        _, found = await central.admin("GET", f"/v1/register/{kind}")
        assert not rows(found, "orders"), "nothing is left of it"
        values = rows(found, "support")
        assert bool(values) is (kind in ("register", "dpia", "recipients")), kind
        if values:
            said = f"not applied since {ended}; recordings made under it are still kept there"
            assert values[0].get("in_force") == (f"pbx-1, since {early}; {said}",)
    await edge.send(edge.event(seq + 2, "recording.erased", recording, told))
    _, found = await central.admin("GET", "/v1/register/register")
    assert not rows(found, "support")


async def test_a_report_that_makes_no_sense_takes_no_other_with_it(
    central: TestCentral, edge: TestEdge, tmp_path: Path
) -> None:
    """Its version is that of its document, so it was taken; and one that an older central took, and this one cannot read."""
    await report(edge, 1, data(tmp_path), at(central))
    document = {"mode": "opt_in", "purposes": 3, "languages": 4, "retention": [], "recipients": 5}
    version = hashlib.sha256(canonical.dumps(document)).hexdigest()
    other = TestEdge(central, "pbx-2")
    await report(other, 1, {"odd": {"policy": "odd", "version": version, "document": document}}, at(central))
    assert central.running is not None
    await central.running.central.db.run(
        lambda conn: conn.execute(
            "UPDATE policy_report SET report='{}' WHERE report_sha256=(SELECT report_sha256 FROM edge_policy WHERE policy='doctors')"
        )
    )
    for kind in KINDS:
        query = f"?since={at(central, days=1)}" if kind == "changes" else ""
        status, found = await central.admin("GET", f"/v1/register/{kind}{query}")
        assert status == 200, (kind, found)
        if kind != "changes":
            assert rows(found, "support")
            assert "unreadable" in rows(found, "doctors")[0]
            assert "unreadable" in rows(found, "odd")[0] or kind == "balancing"


async def test_a_report_that_is_none_is_rejected_alone(central: TestCentral, edge: TestEdge, tmp_path: Path) -> None:
    good = {**data(tmp_path)["support"], "at": at(central)}
    bad = [
        {**good, "version": "0" * 64}, {**good, "at": "yesterday"}, {**good, "policy": "a\x00b"}, {"policy": 3},
        {**good, "document": {"a": ["x" * 10]}},
    ]  # fmt: skip
    _, answer = await edge.send(*(edge.event(n, "policy.loaded", "", one) for n, one in enumerate([*bad, good], 1)))
    assert [item["status"] for item in answer["items"]] == ["rejected:event.policy"] * len(bad) + ["accepted"]


async def test_every_form_comes_out_and_each_giving_is_in_the_log(
    central: TestCentral, edge: TestEdge, tmp_path: Path
) -> None:
    await report(edge, 1, data(tmp_path), at(central))
    state(central)
    for kind in KINDS:
        query = f"?since={at(central, days=1)}" if kind == "changes" else "?lang=cs"
        status, found = await central.admin("GET", f"/v1/register/{kind}{query}")
        assert status == 200, found
        document = msgspec.convert(found, Document)
        assert document.sections
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {central.token}"}) as session:
            async with session.get(f"{central.url}/v1/register/{kind}/page{query}") as answer:
                page = await answer.text()
                assert (answer.status, answer.content_type) == (200, "text/html")
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            async with session.get(f"{central.url}/v1/register/{kind}/table{query}") as answer:
                assert (answer.status, answer.content_type) == (200, "text/csv")
                assert (await answer.text()).startswith('"document","section","key","label","value"')
        assert document.title in page
    entries = (await central.admin("GET", "/v1/log"))[1]["entries"]
    given = [canonical.loads(one["entry"]) for one in entries if "register.given" in one["entry"]]
    assert len(given) == 3 * len(KINDS)


async def test_the_doors_are_for_admin_dpo_and_auditor(central: TestCentral) -> None:
    for role in ("admin", "dpo", "auditor", "ops", "supervisor"):
        status, made = await central.admin("POST", "/v1/tokens", {"label": role, "role": role})
        assert status == 201, made
        token = made["token"]
        for path in ("/v1/policies", "/v1/register/register"):
            status, _ = await central.admin("GET", path, token=token)
            assert status == (200 if role in ("admin", "dpo", "auditor") else 403), (role, path)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/register/nonsense", 404, "not_found.document"),
        ("/v1/register/register?policy=none", 404, "not_found.policy"),
        ("/v1/register/register?lang=xx", 400, "usage.query"),
        ("/v1/register/changes", 400, "usage.query"),
        ("/v1/register/register?since=2026-01-01T00:00:00.000Z", 400, "usage.query"),
        ("/v1/register/changes?since=yesterday", 400, "usage.query"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    central: TestCentral, path: str, status: int, code: str
) -> None:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {central.token}"}) as session,
        session.get(central.url + path) as answer,
    ):
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (status, code)


def test_whom_the_configuration_names_is_a_recipient_without_secrets_of_addresses(tmp_path: Path) -> None:
    made = setup.init(tmp_path / "c", "127.0.0.1:0", use_tls=False)
    assert configured(made.config) == []
    hook = Webhook("crm", "https://crm.example/hook/secret", tmp_path, ("erasure.done",))
    mail = Mail("smtp.example", "a@x.example", ("dpo@x.example",), ("incident.opened",), 465, "tls")
    media = MediaConfig(store="s3", endpoint="https://s3.example", bucket="calls")
    full = replace(made.config, media=media, outgoing=Outgoing((hook,), mail))
    assert [(one.kind, one.name, one.gets) for one in configured(full)] == [
        ("media", "s3.example, calls", "ciphertext"),
        ("webhook", "crm.example", "erasure.done"),
        ("mail", "dpo@x.example", "incident.opened"),
    ]


async def test_a_mistake_in_register_toml_is_told_with_its_file_and_the_next_look_reads_it_anew(
    central: TestCentral, edge: TestEdge, tmp_path: Path
) -> None:
    await report(edge, 1, data(tmp_path), at(central))
    state(central, "[controler]\nname = 'x'")
    status, problem = await central.admin("GET", "/v1/register/register")
    assert (status, problem["code"]) == (409, "register.answers")
    assert problem["where"].endswith("register.toml")
    state(central)
    assert (await central.admin("GET", "/v1/register/register"))[0] == 200


# ---------------------------------------------------------------- review dates


@pytest.mark.parametrize(
    ("today", "code"),
    [
        (date(2027, 2, 28), None), (date(2027, 3, 1), "review.due"), (date(2027, 3, 31), "review.due"),
        (date(2027, 4, 1), "review.overdue"),
    ],
)  # fmt: skip
def test_the_calendar_of_a_review(today: date, code: str | None) -> None:
    assert reviews.alarm_of(date(2027, 3, 31), today) == code


async def test_dates_of_review_alarm_once_each_and_only_for_what_runs(
    central: TestCentral, edge: TestEdge, tmp_path: Path
) -> None:
    assert central.running is not None
    inner = central.running.central
    await report(edge, 1, data(tmp_path), at(central))
    today = inner.wall().date()
    state(central, re.sub(r"review_by = 2027-03-31", f"review_by = {today + timedelta(days=31)}", REGISTER))

    async def codes() -> list[str]:
        await reviews.look(inner)
        await reviews.look(inner)
        found = (await central.admin("GET", "/v1/alarms"))[1]["alarms"]
        return [one["code"] for one in found if one["code"].startswith("review.")]

    assert await codes() == []
    central.offset = timedelta(days=1)
    assert await codes() == ["review.due"]
    central.offset = timedelta(days=32)
    assert await codes() == ["review.due", "review.overdue"]
    (message,) = {
        one["message"] for one in (await central.admin("GET", "/v1/alarms"))[1]["alarms"] if one["code"] == "review.due"
    }
    assert '"support"' in message, "retired runs nowhere: nobody is told of it"


# ---------------------------------------------------------------- moved


async def test_a_move_to_postgresql_takes_the_reports_along(tmp_path: Path, server: Any) -> None:
    conninfo = server.database()
    async with a_central(tmp_path / "central") as central:
        await report(TestEdge(central), 1, data(tmp_path), at(central))
        _, before = await central.admin("GET", "/v1/register/register")
        config = central.config
    moved = move.move(config, conninfo)
    assert moved.rows["edge_policy"] == 3
    assert once(conninfo, lambda conn: conn.execute("SELECT count(*) FROM policy_report").fetchone()[0]) == 3
    central.config = replace(config, postgres=conninfo, port=0)
    await central.start()
    try:
        assert (await central.admin("GET", "/v1/register/register"))[1] == before
    finally:
        await central.stop()


def test_the_file_is_named_beside_the_configuration(tmp_path: Path) -> None:
    made = setup.init(tmp_path / "c", "127.0.0.1:0", use_tls=False)
    text = made.config_path.read_text() + '\nregister = "register.toml"\n'
    made.config_path.write_text(text)

    assert load(made.config_path).register == made.config_path.parent / "register.toml"
