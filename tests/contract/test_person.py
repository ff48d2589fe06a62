"""A person through every part but Asterisk: searched for, erased, wiped, certified; and what is left at central."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callwarden.certificatetext import in_words
from central import setup
from central.people import wipe_what_is_over
from edge.retention.executor import Executor
from edge.retention.means import Bounds
from edge.vault.payloads import PayloadVault
from formats import canonical
from formats.certificate import open_certificate
from formats.errors import ReceiptError
from formats.keys import dump_key
from formats.orders import OrderClaims, Person, sign_order
from formats.orders.claims import decode
from tests.contract.test_central_erase import means
from tests.unit.central.central_kit import TestCentral, TestEdge, a_central
from tests.unit.cli.cli_makers import Ran, process
from tests.unit.retention.retention_kit import AUDITOR
from tests.unit.retention.test_many import Clock, digest
from tests.unit.store.store_makers import NUMBER
from tests.unit.sync.sync_kit import SyncEdge, until


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    async with a_central(tmp_path / "central") as central:
        setup.register_key(central.config, "auditor", "Ann", AUDITOR.verify_key)
        yield central


class Setting:
    """One edge with its executor at a real central; `bystander` never answers."""

    def __init__(self, central: TestCentral, edge: SyncEdge, folder: Path, worker: ThreadPoolExecutor) -> None:
        self.central, self.edge, self.clock = central, edge, Clock()

        async def head() -> str | None:
            made = await edge.checkpointer.make()
            return made.note if made else None

        self.executor = Executor(
            means(
                edge, PayloadVault(str(folder)), worker, clock=self.clock, digest=digest, head=head,
                bounds=lambda: Bounds(daily_share=100),
            )
        )  # fmt: skip

    async def draft(self, person: Person, cmd: str, **more: Any) -> OrderClaims:
        asked = {"cmd": cmd, "target": {"kind": "person", "id": person.id}, "reason": "asked for", **more}
        status, answer = await self.central.admin("POST", "/v1/orders/draft", asked)
        assert status == 200, answer
        return decode(canonical.dumps({k: v for k, v in answer["claims"].items() if v or k == "case_ref"}), OrderClaims)

    async def submit(self, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = await self.central.admin("POST", "/v1/orders", body)
        assert status == 202, answer
        return dict(answer)

    async def exchange(self, **later: float) -> None:
        self.clock.go(**later)
        await self.edge.sync._inbox.poll(0)
        await self.executor.once()
        await self.edge.checkpointer.make()
        await self.edge.sync.flush()

    async def order(self, jti: str) -> dict[str, Any]:
        status, answer = await self.central.admin("GET", f"/v1/orders/{jti}")
        assert status == 200
        return dict(answer)


@pytest.fixture
async def setting(central: TestCentral, tmp_path: Path) -> AsyncIterator[Setting]:
    edge = await SyncEdge.open(central, tmp_path)
    with ThreadPoolExecutor(1) as worker:
        yield Setting(central, edge, tmp_path / "vault", worker)
    await edge.close()


async def test_an_edge_that_stays_away_is_named_in_an_interim_certificate(setting: Setting) -> None:
    central, edge = setting.central, setting.edge
    away = TestEdge(central, edge_id="edge-2")
    await edge.record()
    await edge.sync.flush()
    person = Person(secrets.token_bytes(16), NUMBER)
    order = sign_order(await setting.draft(person, "erase", located="ab" * 16), [central.dpo])
    jti = (await setting.submit({"order": order, "opening": person.document()}))["jti"]
    await setting.exchange()
    assert (await central.admin("GET", f"/v1/certificates/{jti}?interim=1"))[1]["code"] == "certificate.pending"
    await setting.exchange(hours=25)
    await setting.exchange(days=8)
    central.offset = timedelta(days=40)
    found = await setting.order(jti)
    assert [(one["edge_id"], one["state"]) for one in found["progress"]] == [
        ("edge-1", "answered"), ("edge-2", "silent"),
    ]  # fmt: skip
    assert (await central.admin("GET", f"/v1/certificates/{jti}"))[1]["code"] == "certificate.pending"
    status, document = await central.admin("GET", f"/v1/certificates/{jti}?interim=1")
    assert status == 200, document
    proven = open_certificate(document, setup.trust(central.config))
    assert [one["edge_id"] for one in proven.claims["outstanding"]] == ["edge-2"]
    assert {one.edge.edge_id for one in proven.receipts} == {"edge-1"}
    assert "edge-2 since" in in_words(proven.claims)
    hidden = document | {"claims": {k: v for k, v in document["claims"].items() if k != "outstanding"}}
    with pytest.raises(ReceiptError, match="shown"):
        open_certificate(hidden, setup.trust(central.config))
    assert await central.rows("SELECT count(*) FROM certificate") == [(0,)], "an interim one is not kept"
    status, answer = await away.ask("GET", away.path("deliveries?after=0&wait=0"))
    assert status == 200
    assert answer["deliveries"][0]["opening"]["number"] == NUMBER, "it is still asked for, after forty days"


async def test_a_revoked_edge_holds_nothing_up_and_is_named_in_the_final_certificate(
    setting: Setting, tmp_path: Path
) -> None:
    """Revoked before the order, or while it waits: the others' last words are enough, and the number leaves the keeper."""
    central, edge = setting.central, setting.edge
    for name in ("edge-2", "edge-3"):
        TestEdge(central, edge_id=name)

    async def revoke(name: str) -> None:
        assert (await central.admin("POST", f"/v1/edges/{name}/revoke", {"reason": "stolen"}))[0] == 200

    await revoke("edge-2")
    await edge.record()
    await edge.sync.flush()
    person = Person(secrets.token_bytes(16), NUMBER)
    order = sign_order(await setting.draft(person, "erase", located="ab" * 16), [central.dpo])
    jti = (await setting.submit({"order": order, "opening": person.document()}))["jti"]
    await setting.exchange()
    await setting.exchange(hours=25)
    await setting.exchange(days=8)
    central.offset = timedelta(days=40)
    found = await setting.order(jti)
    assert [one["state"] for one in found["progress"]] == ["answered", "revoked", "silent"]
    assert (found["complete"], (await central.admin("GET", f"/v1/certificates/{jti}"))[0]) == (False, 409)
    await revoke("edge-3")
    assert (await setting.order(jti))["complete"] is True
    (line,) = (await central.admin("GET", "/v1/orders"))[1]["orders"]
    assert (line["missing"], line["complete"]) == ([], True)
    assert central.running is not None
    await wipe_what_is_over(central.running.central)
    assert await central.rows("SELECT opening_slot FROM orders WHERE jti=?", jti) == [(None,)]
    status, document = await central.admin("GET", f"/v1/certificates/{jti}")
    assert status == 200, document
    proven = open_certificate(document, setup.trust(central.config))
    assert [one["edge_id"] for one in proven.claims["outstanding"]] == ["edge-2", "edge-3"]
    assert {one.edge.edge_id for one in proven.receipts} == {"edge-1"}
    assert "edge-3 since" in in_words(proven.claims)
    assert await central.rows("SELECT count(*) FROM certificate") == [(1,)], "it is final"
    file, trust = tmp_path / "certificate.json", tmp_path / "trust.json"
    file.write_bytes(canonical.dumps(document))
    trust.write_bytes(setup.trust(central.config).dump())
    alone = [sys.executable, Path("docs/verify/certificate.py").absolute(), file, trust]
    assert (await asyncio.to_thread(subprocess.run, alone, check=False)).returncode == 0


async def test_from_the_search_to_the_certificate(setting: Setting, tmp_path: Path) -> None:
    central, edge = setting.central, setting.edge
    new, _ = await edge.record()
    await edge.sync.flush()
    await edge.journal.note_exported(new.recording_id, "wav", "quality")
    person = Person(secrets.token_bytes(16), NUMBER)
    claims = await setting.draft(person, "locate")
    answer = await setting.submit(
        {"claims": canonical.loads(canonical.dumps(_plain(claims))), "opening": person.document()}
    )
    await setting.exchange()
    found = await setting.order(answer["jti"])
    assert found["complete"]
    (receipt,) = found["receipts"]
    assert [one["call_id"] for one in receipt["document"]["claims"]["evidence"]["matches"]] == [new.call_id]
    assert await central.rows("SELECT opening_slot FROM orders WHERE jti=?", answer["jti"]) == [(None,)]

    person = Person(secrets.token_bytes(16), NUMBER)
    claims = await setting.draft(person, "erase", located=answer["jti"])
    order = sign_order(claims, [central.dpo])
    assert (await central.admin("POST", "/v1/orders", {"order": order}))[1]["code"] == "command.person"
    wrong = {"order": order, "opening": Person(person.salt, "+420777999888").document()}
    assert (await central.admin("POST", "/v1/orders", wrong))[1]["code"] == "command.person"
    jti = (await setting.submit({"order": order, "opening": person.document()}))["jti"]
    ((slot,),) = await central.rows("SELECT opening_slot FROM orders WHERE jti=?", jti)
    assert slot is not None
    await setting.exchange()
    assert not (await setting.order(jti))["complete"]
    assert (await central.admin("GET", f"/v1/certificates/{jti}"))[1]["code"] == "certificate.pending"
    await setting.exchange(hours=25)
    assert not (await setting.order(jti))["complete"], "one recording's receipt is not the last word"
    await setting.exchange(days=8)
    assert (await setting.order(jti))["complete"]
    assert await central.rows("SELECT opening_slot FROM orders WHERE jti=?", jti) == [(None,)]

    central.offset = timedelta(days=10)
    status, document = await central.admin("GET", f"/v1/certificates/{jti}")
    assert status == 200, document
    assert (await central.admin("GET", f"/v1/certificates/{jti}"))[1] == document
    proven = open_certificate(document, setup.trust(central.config))
    assert (proven.witnessed, proven.logged) == (True, len(proven.receipts))
    states = {(one["place"], one["state"]) for one in proven.claims["copies"]}
    assert states == {
        ("edge/edge-1", "destroyed"), ("edge/edge-1/medium", "unknown"), ("edge/edge-1/export/wav", "exported"),
        ("central/keeper", "destroyed"), ("central/medium", "unknown"),
    }  # fmt: skip
    (recording,) = proven.claims["recordings"]
    assert recording["key_ids"] == [new.segment.header.key_id.hex()]
    assert len(recording["manifest_sha256"]) == 64
    assert proven.claims["calls"] == {"edge-1": 1}
    assert {one["role"] for one in proven.claims["actors"]} == {"store", "dpo"}
    other = document | {"claims": document["claims"] | {"level": 3}}
    with pytest.raises(ReceiptError, match="shown"):
        open_certificate(other, setup.trust(central.config))

    (call,) = (await central.admin("GET", "/v1/calls"))[1]["calls"]
    assert call["opened"]["started_at"] == "2026-01-31T12:00:00.000Z"
    assert "linked_id" not in call["opened"]
    await central.stop()
    stored = b"".join(one.read_bytes() for one in (tmp_path / "central").rglob("*") if one.is_file())
    link = await edge.journal.call(new.call_id)
    assert link is not None
    for trace in (b"777123456", NUMBER.encode(), person.packed(), (await digest(NUMBER)).encode()):
        assert trace not in stored, trace


def _plain(claims: OrderClaims) -> dict[str, Any]:
    from formats.orders.claims import encode

    value: dict[str, Any] = canonical.loads(encode(claims))
    return value


async def test_cancel_goes_to_whoever_got_the_order(setting: Setting) -> None:
    central, edge = setting.central, setting.edge
    new, _ = await edge.record()
    await edge.sync.flush()
    person = Person(secrets.token_bytes(16), NUMBER)
    claims = await setting.draft(person, "erase", located="ab" * 16)
    jti = (await setting.submit({"order": sign_order(claims, [central.dpo]), "opening": person.document()}))["jti"]
    await setting.exchange()
    stop = {"cmd": "cancel", "target": {"kind": "order", "id": jti}, "reason": "a mistake"}
    status, answer = await central.admin("POST", "/v1/orders/draft", stop)
    assert (status, answer["edges"]) == (200, ["edge-1"])
    drafted = decode(canonical.dumps({k: v for k, v in answer["claims"].items() if v or k == "case_ref"}), OrderClaims)
    assert (await central.admin("POST", "/v1/orders", {"order": sign_order(drafted, [edge.key])}))[0] == 403
    await setting.submit({"order": sign_order(drafted, [AUDITOR])})
    await setting.exchange(hours=1)
    answer = await setting.order(jti)
    assert [one["result"] for one in answer["receipts"]] == ["deferred", "refused:command.cancelled"]
    await setting.exchange(days=30)
    row = await edge.journal.recording(new.recording_id)
    assert row is not None
    assert row.state == "sealed"
    central.offset = timedelta(days=31)
    document = (await central.admin("GET", f"/v1/certificates/{jti}"))[1]
    assert document["claims"]["failed"][0]["result"] == "refused:command.cancelled"
    assert document["claims"]["recordings"] == []


async def test_an_edge_that_does_not_answer_keeps_it_open(setting: Setting) -> None:
    TestEdge(setting.central, "pbx-2")
    person = Person(secrets.token_bytes(16), NUMBER)
    claims = await setting.draft(person, "erase", located="ab" * 16)
    order = {"order": sign_order(claims, [setting.central.dpo]), "opening": person.document()}
    jti = (await setting.submit(order))["jti"]
    await setting.exchange()
    await setting.exchange(days=9)
    answer = await setting.order(jti)
    assert [one["result"] for one in answer["receipts"]] == ["deferred", "not_found"]
    assert not answer["complete"]
    ((slot,),) = await setting.central.rows("SELECT opening_slot FROM orders WHERE jti=?", jti)
    assert slot is not None, "the other edge needs it"


async def test_by_the_command_line(setting: Setting, tmp_path: Path) -> None:
    """Searched, reviewed, signed, cancelled, signed again, certified and verified, all with the commands."""
    central, edge = setting.central, setting.edge
    new, _ = await edge.record()
    await edge.sync.flush()
    dpo, trust, file = tmp_path / "dpo.key", tmp_path / "trust.json", tmp_path / "certificate.json"
    dpo.write_bytes(dump_key(central.dpo))
    trust.write_bytes(setup.trust(central.config).dump())
    working = True

    async def work() -> None:
        while working:
            await setting.exchange()
            await asyncio.sleep(0.05)

    async def run(*args: str | Path) -> Ran:
        return await asyncio.to_thread(
            lambda: process(*(str(one) for one in args), CENTRAL_URL=central.url, CENTRAL_TOKEN=central.token)
        )

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        found = await run(
            "central", "locate", "--number", "777 123 456", "--country", "CZ", "--reason", "case", "--json"
        )
        assert found.code == 0, found.err
        assert [one["call_id"] for one in json.loads(found.out)["matches"]] == [new.call_id]
        assert (await run("central", "locate", "--number", "1001", "--reason", "case")).code == 2
        person = ("central", "erase", "--person", "+420 777 123 456", "--reason", "case 7", "--dpo-key", dpo)
        unseen = await run(*person)
        assert (unseen.code, "look at what was found" in unseen.err) == (2, True)
        first = await run(*person, "--yes")
        assert first.code == 75, first.err
        jti = json.loads(first.out)["jti"]
        assert (await run("central", "certificate", jti)).code == 75
        assert (await run("central", "cancel", jti, "--reason", "a mistake", "--key", dpo)).code == 75
        await until(lambda: _complete(setting, jti))
        second = json.loads((await run(*person, "--yes")).out)["jti"]
        setting.clock.go(hours=25)
        await until(lambda: _state(edge, new.recording_id, "erased"))
        setting.clock.go(days=8)
        await until(lambda: _complete(setting, second))
        working = False
    await setting.exchange()
    central.offset = timedelta(days=10)
    made = await run("central", "certificate", second)
    assert made.code == 0, made.err
    file.write_text(made.out)
    words = await run("central", "certificate", second, "--text")
    assert "Recordings destroyed: 1" in words.out
    held = await run("receipt", "verify", file, "--trust", trust)
    assert (held.code, "cosigned by a witness" in held.out) == (0, True)
    said = json.loads((await run("receipt", "verify", file, "--trust", trust, "--json")).out)
    assert (said["verified"], said["witnessed"]) == (True, True)
    file.write_text(made.out.replace('"level": 0', '"level": 3'))
    assert (await run("receipt", "verify", file, "--trust", trust)).code == 7


async def _complete(setting: Setting, jti: str) -> bool:
    return bool((await setting.order(jti))["complete"])


async def _state(edge: SyncEdge, recording_id: str, state: str) -> bool:
    row = await edge.journal.recording(recording_id)
    return row is not None and row.state == state
