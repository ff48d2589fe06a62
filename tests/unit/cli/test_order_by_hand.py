"""`callwarden order …`, `rectify` and `receipt certificate` against a door behind which the real executor works."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from callwarden.keyfiles import read_trust
from edge.api.server import make_app, serve
from edge.retention.byhand import ByHand
from edge.retention.executor import Executor
from edge.retention.means import Bounds, Means
from formats.certificate import open_certificate
from formats.keyset import KeySet
from formats.orders import read_order, verify_receipt
from tests.unit.cli import cli_makers as make
from tests.unit.retention.retention_kit import NobodyLive
from tests.unit.retention.test_many import Clock, digest
from tests.unit.store import store_makers as makers


class At:
    """An edge with one recorded call of a person, its daemon's door and executor; `alone`: it pins no store."""

    def __init__(self, edge: make.Edge, files: make.Opened, alone: bool) -> None:
        self.edge, self.files, self.clock = edge, files, Clock()
        self.worker = ThreadPoolExecutor(1)
        trust = read_trust(edge.paths["trust"])
        self.trust = KeySet.of(one for one in trust.entries if not (alone and one.role in ("store", "witness")))

        async def no_head() -> str | None:
            return None

        self.executor = Executor(
            Means(
                journal=files.journal, slots=files.slots, vault=files.vault, recorder=NobodyLive(),  # type: ignore[arg-type]
                keeper=None, clock=self.clock, key=edge.key, trust=self.trust, edge_id="edge-1", terms_of=lambda _: None,
                head=no_head, worker=self.worker, digest=digest, bounds=lambda: Bounds(daily_share=100),
                country=lambda: "CZ",
            )
        )  # fmt: skip

    async def record(self) -> tuple[str, str]:
        files = self.files
        call = makers.call(number_e164=makers.NUMBER)
        await files.journal.open_call(call)
        new = makers.recording(call.call_id, await files.slots.put(os.urandom(32)))
        given = makers.event("given", call.party_id)
        await files.journal.grant(call.call_id, given, new.permit_id, ("quality",), new)
        for state in ("recording", "closing"):
            await files.journal.set_recording_state(new.recording_id, state)
        await files.journal.close_segment(makers.closed(new, 2))
        await files.journal.seal_recording(
            new.recording_id, ending="complete", frames=32768, ended_at=makers.AT, manifest="m.a.n"
        )
        await files.journal.end_call(call.call_id, makers.AT)
        return call.call_id, new.recording_id

    async def ok(self, *args: str | Path, code: int = 0) -> Any:
        ran = await self.edge.arun(*args)
        assert ran.code == code, ran.err
        return ran


def at(edge: make.Edge, work: Any, *, alone: bool = True) -> None:
    async def go() -> None:
        async with make.opened(edge) as files:
            here = At(edge, files, alone)
            from dataclasses import replace

            deps = replace(make.deps(edge, files), erasure=here.executor.by_hand, trust=here.trust)
            runner = await serve(make_app(deps), edge.loaded.edge.socket)
            try:
                await work(here)
            finally:
                await runner.cleanup()
                here.worker.shutdown()

    asyncio.run(go())


@pytest.fixture
def edge(tmp_path: Path, run_dir: Path) -> make.Edge:
    return make.make_edge(tmp_path / "etc", run_dir)


def test_a_person_by_hand_where_there_is_no_central(edge: make.Edge, tmp_path: Path) -> None:
    async def work(here: At) -> None:
        call_id, recording_id = await here.record()
        key, file = edge.paths["dpo_key"], tmp_path / "order.json"
        new = ("order", "new", "erase", "--person", "777 123 456", "--reason", "case 7", "--key", key, "--out", file)
        await here.ok(*new, code=2)
        made = await here.ok(*new, "--yes")
        assert call_id in made.err
        assert file.stat().st_mode & 0o777 == 0o600
        await here.ok("order", "apply", file)
        again = await here.ok("order", "apply", file)
        assert json.loads(again.out)["new"] is False
        await here.executor.once()
        (row,) = json.loads((await here.ok("order", "list", "--json")).out)
        assert (row["state"], row["waiting"], row["results"]) == ("executing", 1, ["deferred"])
        await here.ok("receipt", "certificate", recording_id, code=5)
        here.clock.go(hours=25)
        await here.executor.once()
        await here.ok("receipt", "certificate", recording_id, code=75)
        here.clock.go(days=8)
        await here.executor.once()
        shown = json.loads((await here.ok("order", "show", row["jti"])).out)
        assert (shown["state"], shown["done"]) == ("answered", 1)
        document = json.loads((await here.ok("receipt", "certificate", recording_id)).out)
        proven = open_certificate(document, here.trust)
        assert (proven.issuer.role, [one["role"] for one in proven.claims["actors"]]) == ("edge", ["dpo"])
        assert "Recordings destroyed: 1" in (await here.ok("receipt", "certificate", recording_id, "--text")).out

    at(edge, work)


def test_an_edge_with_a_central_wants_the_store_s_signature_too(edge: make.Edge, tmp_path: Path) -> None:
    async def work(here: At) -> None:
        _, recording_id = await here.record()
        key, file, both = edge.paths["dpo_key"], tmp_path / "order.json", tmp_path / "both.json"
        fleet = next(one.owner.split("/")[1] for one in here.trust.with_role("witness"))
        await here.ok(
            "order",
            "new",
            "erase",
            "--recording",
            recording_id,
            "--fleet",
            fleet,
            "--reason",
            "x",
            "--key",
            key,
            "--out",
            file,
        )
        refused = await here.ok("order", "apply", file, code=6)
        assert "auth.count" in refused.err
        assert await here.files.journal.orders(("received",)) == []
        store = next(iter(edge.folder.rglob("store.key")))
        both.write_text((await here.ok("order", "sign", file, "--key", store)).out)
        await here.ok("order", "apply", both)
        await here.executor.once()
        row = await here.files.journal.recording(recording_id)
        assert row is not None
        assert row.state == "erased"

    at(edge, work, alone=False)


def test_nobody_s_order_is_an_order_also_without_a_store(edge: make.Edge, tmp_path: Path) -> None:
    """Commands that the store alone signs cannot be given where there is none, and a bare order is none."""

    async def work(here: At) -> None:
        _, recording_id = await here.record()
        key, file = edge.paths["dpo_key"], tmp_path / "order.json"
        await here.ok(
            "order", "new", "erase", "--recording", recording_id, "--reason", "x", "--key", key, "--out", file
        )
        value = json.loads(file.read_text())
        bare = tmp_path / "bare.json"
        bare.write_text(json.dumps({**value, "order": {**value["order"], "signatures": []}}))
        await here.ok("order", "apply", bare, code=6)
        doubled = tmp_path / "doubled.json"
        both = value["order"]["signatures"] * 2
        doubled.write_text(json.dumps({**value, "order": {**value["order"], "signatures": both}}))
        await here.ok("order", "apply", doubled, code=6)
        assert await here.files.journal.orders(("received",)) == []

    at(edge, work)


def test_a_correction_keeps_the_old_value_as_a_hash_only(edge: make.Edge) -> None:
    async def work(here: At) -> None:
        call_id, _ = await here.record()
        await here.ok("rectify", call_id, "--reason", "misheard", code=2)
        right = ("--number", "+420 777 999 888", "--language", "cs", "--reason", "misheard")
        done = json.loads((await here.ok("rectify", call_id, *right)).out)
        assert done["fields"] == ["language", "number"]
        call = await here.files.journal.call(call_id)
        assert call is not None
        assert (call.number_e164, call.language) == ("+420777999888", "cs")
        facts = await here.files.journal.views.why(call_id)
        assert "777123456" not in json.dumps(facts)
        await here.ok("rectify", call_id, "--policy", "nowhere", "--reason", "x", code=5)
        rows = await here.files.journal._readers.read(
            lambda c: c.execute("SELECT field, old_hmac, reason FROM rectification ORDER BY field").fetchall()
        )
        assert [row[0] for row in rows] == ["language", "number"]
        assert all(len(row[1]) == 97 and row[1][32] == ":" for row in rows), "a salt and a hash"
        told = [one for one in await here.files.journal.outbox(100) if one.type == "call.rectified"]
        assert told[0].body["language"] == "cs"
        assert "number" not in {name for name in told[0].body if name != "fields"}
        entries = [one.entry for one in await here.files.journal.audit_entries(0, 1000)]
        (entry,) = [one for one in entries if "call.rectified" in one]
        assert "misheard" not in entry
        assert "777999888" not in entry

    at(edge, work)


def test_it_is_the_executor_s(edge: make.Edge) -> None:
    async def work(here: At) -> None:
        assert isinstance(here.executor.by_hand, ByHand)
        ran = await here.ok("order", "show", "ab" * 16, code=5)
        assert "no such order" in ran.err

    at(edge, work)


def test_what_people_alone_may_order_is_made_and_carried_by_hand(edge: make.Edge, tmp_path: Path) -> None:
    async def work(here: At) -> None:
        key, table, file = edge.paths["dpo_key"], tmp_path / "sales.toml", tmp_path / "order.json"
        table.write_text('[policy.sales]\nmode = "never"\n')
        new = ("order", "new", "policy", "--policy", "sales", "--reason", "x", "--key", key, "--out", file)
        await here.ok(*new, code=2)
        await here.ok(*new, "--file", table)
        await here.ok("order", "apply", file)
        await here.executor.once()
        (row,) = json.loads((await here.ok("order", "list", "--json")).out)
        assert (row["cmd"], row["results"]) == ("policy", ["refused:command.unsupported"]), "no policy book here"
        shown = json.loads((await here.ok("config", "ordered", "--json")).out)
        assert (shown["policies"], shown["keys_by"]) == ([], "")
        assert "dpo" in (await here.ok("config", "ordered")).out
        keyset = json.loads((await here.ok("config", "ordered", "--keyset")).out)
        trust = tmp_path / "trust.json"
        trust.write_text(json.dumps(keyset))
        keys = tmp_path / "keys.json"
        await here.ok("order", "new", "keys", "--file", trust, "--reason", "x", "--key", key, "--out", keys)
        assert all(
            one["role"] != "edge" for one in read_order(json.loads(keys.read_text())["order"]).content["keyset"]["keys"]
        )
        back = tmp_path / "receipts.json"
        await here.ok("receipt", "carry", row["jti"], "--out", back)
        carried = json.loads(back.read_text())
        assert (carried["edge_id"], len(carried["receipts"])) == ("edge-1", 1)
        assert verify_receipt(carried["receipts"][0], read_trust(edge.paths["trust"]))[0].jti == row["jti"]

    at(edge, work)
