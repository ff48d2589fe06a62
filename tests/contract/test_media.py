"""Sealed audio at central: replicated, resumed, fetched, refused once erased, and opened without its edge."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from central.conn import Conn
from central.media import leaving
from central.media.incoming import Incoming
from central.minimise import restrictions
from edge.errors import CallwardenError
from edge.media.uploader import PIECE, pause_s
from edge.ports import MediaState
from edge.sync.media import MediaLink
from edge.sync.uplink import Refusal, Uplink
from formats import canonical
from tests.contract.media_kit import JTI, fill, states, uploader_of, wanted_by_order
from tests.contract.recovery_kit import syncing, vault_of
from tests.contract.test_recovery import audio, lose_the_journal
from tests.unit.central.central_kit import TestCentral
from tests.unit.central.media_kit import files as files_below
from tests.unit.central.media_kit import keeping, with_folder
from tests.unit.cli import cli_makers as make
from tests.unit.cli.conftest import run_dir  # noqa: F401 - a short folder in memory
from tests.unit.store.store_makers import SystemClock
from tests.unit.sync.sync_kit import LossyProxy


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    async with keeping(tmp_path / "central") as central:
        yield central


@pytest.fixture
async def edge(tmp_path: Path, run_dir: Path, central: TestCentral) -> make.Edge:  # noqa: F811
    edge = make.make_edge(tmp_path / "etc", run_dir)
    await fill(edge, central)
    return edge


def surroundings(central: TestCentral) -> dict[str, str]:
    return {"CENTRAL_URL": central.url, "CENTRAL_TOKEN": str(central.config.token)}


def names(edge: make.Edge, *words: str) -> set[str]:
    return {edge.facts[word].recording_id for word in words}


async def upload(edge: make.Edge, central: TestCentral) -> bool:
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        return await uploader_of(files, sync).look()


async def test_what_replicates_is_at_central_and_opens_without_its_edge(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    assert await upload(edge, central)
    assert await states(central) == {
        edge.facts["two"].recording_id: ["stored", "stored"],
        edge.facts["cut"].recording_id: ["stored"],
        edge.facts["big"].recording_id: ["stored"],
    }
    payloads = sorted(path.read_bytes() for path in files_below(vault_of(edge)))
    assert all(path.read_bytes() in payloads for path in files_below(central.config.media.folder))
    assert await upload(edge, central), "nothing is due any more"
    identity = edge.paths["operator_identity"]
    lose_the_journal(edge)
    shutil.rmtree(vault_of(edge))
    check = await make.acommand("central", "media", "verify", "--purpose", "quality", "--json", **surroundings(central))
    assert (check.code, len(check.json["right"]), check.json["failed"]) == (0, 4, {})
    assert len(check.json["absent"]) == 1  # what stayed at the edge
    done = await make.acommand(
        "recover", tmp_path / "from", "--from-central", "--purpose", "quality", "-i", identity, "-o", tmp_path / "out", "--json",
        **surroundings(central),
    )  # fmt: skip
    found = {one["recording_id"]: one for one in done.json["recovered"]}
    assert set(found) == names(edge, "two", "cut", "big")
    for word in ("two", "cut", "big"):
        one = edge.facts[word]
        assert audio(Path(found[one.recording_id]["file"])) == one.audio, word
        assert found[one.recording_id]["verified"] is True
    _, log = await central.admin("GET", "/v1/log")
    assert sum('"kind":"media.read"' in one["entry"] for one in log["entries"]) == 8


async def test_a_payload_that_was_changed_at_central_is_found_and_not_written(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    await upload(edge, central)
    path = files_below(central.config.media.folder)[0]
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    check = await make.acommand("central", "media", "verify", "--purpose", "quality", "--json", **surroundings(central))
    assert (check.code, [one["code"] for one in check.json["failed"].values()]) == (7, ["vault.payload"])
    got = await make.acommand(
        "central",
        "media",
        "get",
        "--purpose",
        "quality",
        "--reason",
        "case 7",
        "-o",
        tmp_path / "got",
        "--json",
        **surroundings(central),
    )
    assert (got.code, len(got.json["right"])) == (7, 3)
    assert len(files_below(tmp_path / "got")) == 3
    listed = await make.acommand("central", "media", "list", **surroundings(central))
    assert listed.out.count("stored") == 4


async def test_what_central_refuses_is_said_and_not_passed_over(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    await upload(edge, central)
    two, identity = edge.facts["two"], edge.paths["operator_identity"]
    held = {"call_id": two.call.call_id, "hold_id": "ab" * 16}
    assert central.running is not None
    await central.running.central.db.run(lambda conn: restrictions.place(conn, "edge-1", held))
    media = ("central", "media")
    from_central = ("recover", tmp_path / "from", "--from-central", "-i", identity)
    check = await make.acommand(*media, "verify", "--purpose", "quality", "--json", **surroundings(central))
    assert (check.code, {name: one["code"] for name, one in check.json["failed"].items()}) == (
        7, {two.recording_id: "command.restricted"},
    )  # fmt: skip
    assert len(check.json["right"]) == 2
    wrong = await make.acommand(
        *media, "get", "--purpose", "gossip", "--reason", "x", "-o", tmp_path / "got", "--json", **surroundings(central)
    )
    assert {one["code"] for one in wrong.json["failed"].values()} == {"command.purpose", "command.restricted"}
    assert (wrong.code, wrong.json["right"]) == (7, [])
    claim = await make.acommand(
        *media, "get", "--purpose", "legal_claims", "--case", "a & b?", "--reason", "x", "-o", tmp_path / "got",
        "--recording", two.recording_id, "--json", **surroundings(central),
    )  # fmt: skip
    assert (claim.code, len(claim.json["right"])) == (0, 2)
    recovered = await make.acommand(
        *from_central, "--purpose", "quality", "-o", tmp_path / "out", "--json", **surroundings(central)
    )
    assert f"{two.recording_id}: it is restricted" in recovered.err
    for words in (
        (*media, "verify"),
        (*media, "get", "--reason", "x", "-o", tmp_path / "x"),
        (*from_central, "-o", tmp_path / "y"),
    ):
        none = await make.acommand(*words, **surroundings(central))
        assert none.code == 2
        assert "--purpose" in none.err


async def test_lost_answers_and_a_restarted_central_cost_a_piece_not_the_upload(
    edge: make.Edge, central: TestCentral
) -> None:
    proxy = LossyProxy(int(central.url.rsplit(":", 1)[1]))
    url = await proxy.start()
    async with make.opened(edge) as files, syncing(edge, files, central, url=url) as sync:
        big = await files.journal.recording(edge.facts["big"].recording_id)
        assert big is not None
        segment = big.segments[0]
        assert segment.payload_sha512 is not None
        sha512, payload = segment.payload_sha512.hex(), files.vault.open(big.recording_id, segment.segment_id).read()
        assert len(payload) > 2 * PIECE
        door = sync.media
        assert await door.put(big.recording_id, segment.segment_id, sha512, 0, payload[:PIECE]) == MediaState(
            "coming", PIECE
        )
        proxy.lose = True
        with pytest.raises(CallwardenError):  # it arrived, and its answer did not
            await door.put(big.recording_id, segment.segment_id, sha512, PIECE, payload[PIECE : 2 * PIECE])
        proxy.lose = False
        assert await door.state(sha512) == MediaState("coming", 2 * PIECE)
        again = await door.put(big.recording_id, segment.segment_id, sha512, PIECE, payload[PIECE : 2 * PIECE])
        assert again == MediaState("coming", 2 * PIECE)
        await proxy.stop()
        await central.stop()
        async with syncing(edge, files, central) as direct:
            with pytest.raises(CallwardenError):
                await uploader_of(files, direct).look()
            await central.start()
            assert await uploader_of(files, direct).look()
    assert (await states(central))[edge.facts["big"].recording_id] == ["stored"]


async def test_what_is_erased_is_refused_and_goes_from_both(edge: make.Edge, central: TestCentral) -> None:
    await upload(edge, central)
    assert central.running is not None
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        await make.erase(files, edge.facts["two"])
        await sync.flush()
        await leaving.remove_all(central.running.central)
        assert (await states(central))[edge.facts["two"].recording_id] == ["gone", "gone"]
        # A copy of the edge that still has it would bring it back.
        two = edge.facts["two"]
        rows = await central.rows("SELECT segment_id, sha512 FROM media WHERE recording_id=?", two.recording_id)
        for segment_id, sha512 in rows:
            assert (await sync.media.put(two.recording_id, segment_id, sha512, 0, b"x")).state == "erased"
        assert (await sync.media.state(rows[0][1])).state == "erased"
    assert len(files_below(central.config.media.folder)) == 2


async def test_erased_before_it_went_it_is_not_due(edge: make.Edge, central: TestCentral) -> None:
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        await make.erase(files, edge.facts["cut"])
        assert await uploader_of(files, sync).look()
        rows = await files.journal._readers.read(
            lambda conn: conn.execute("SELECT recording_id, result FROM media_due").fetchall()
        )
    assert dict(rows)[edge.facts["cut"].recording_id] == "command.state"
    assert set(await states(central)) == names(edge, "two", "big")


async def test_central_may_fetch_what_stays(edge: make.Edge, central: TestCentral) -> None:
    """The row that a `fetch` order makes (edge/retention/fetchorders.py) is served and answered."""
    stays = edge.facts["stays"]
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        await wanted_by_order(files, stays.recording_id)
        assert await uploader_of(files, sync).look()
        (wanted,) = await files.journal.wanted_media(JTI)
    assert wanted.result == "done"
    assert [one["sha512"] for one in wanted.evidence["segments"]] == [
        row[0] for row in await central.rows("SELECT sha512 FROM media WHERE recording_id=?", stays.recording_id)
    ]


async def test_a_damaged_payload_holds_up_no_other(edge: make.Edge, central: TestCentral) -> None:
    two = edge.facts["two"]
    path = sorted(files_below(vault_of(edge) / two.recording_id[:2] / two.recording_id))[0]
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        assert await uploader_of(files, sync).look()
        alarms = [row.body["code"] for row in await files.journal.outbox(100) if row.type == "alarm.raised"]
    assert alarms == ["media.differs"]
    found = await states(central)
    assert found[edge.facts["big"].recording_id] == ["stored"]


async def test_a_central_without_room_is_tried_again_later(edge: make.Edge, central: TestCentral) -> None:
    assert central.running is not None
    room = central.running.central.media
    assert room is not None
    open_, room.incoming = room.incoming, Incoming(central.config.media.incoming, 1 << 60)
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        uploader = uploader_of(files, sync)
        assert not await uploader._tried()
        assert [row.type for row in await files.journal.outbox(100) if row.type == "alarm.raised"] == []
        assert len(await files.journal.media_due(10)) == 3
        room.incoming = open_
        assert await uploader._tried()
    assert set(await states(central)) == names(edge, "two", "cut", "big")


async def test_what_cannot_go_holds_up_no_other(
    edge: make.Edge, central: TestCentral, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is restricted, one central refuses, and what is due is read one by one."""
    monkeypatch.setattr("edge.media.uploader.PAGE", 1)
    two, cut = edge.facts["two"].recording_id, edge.facts["cut"].recording_id

    def restrict(conn: sqlite3.Connection) -> None:
        values = ("cd" * 16, "restriction", "recording", two, "disputed", "dpo", make.AT)
        conn.execute(
            "INSERT INTO hold(hold_id, kind, scope, target, reason, placed_by, placed_at) VALUES(?,?,?,?,?,?,?)", values
        )

    class Refusing(MediaLink):
        async def put(self, recording_id: str, *words: Any) -> MediaState:
            return await super().put("no-id" if recording_id == cut else recording_id, *words)

    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        await files.journal._writer.do(restrict)
        sync.media = Refusing(sync._uplink)
        uploader = uploader_of(files, sync)
        for _ in range(2):
            assert not await uploader.look()
        assert set(await states(central)) == names(edge, "big")
        assert await files.journal.media_due(10) == [two, cut]
        alarms = [row.body for row in await files.journal.outbox(100) if row.type == "alarm.raised"]
        assert [one["code"] for one in alarms] == ["media.refused"]
        assert "usage.id" in str(alarms[0])


async def test_a_manifest_that_central_cannot_verify_waits_alone(edge: make.Edge, central: TestCentral) -> None:
    two = edge.facts["two"].recording_id
    assert central.running is not None
    ((sealed,),) = await central.rows("SELECT sealed FROM recording WHERE recording_id=?", two)
    told = {**json.loads(sealed), "manifest": "e30.e30.AA"}

    def spoil(text: str) -> Callable[[Conn], Any]:
        return lambda conn: conn.execute("UPDATE recording SET sealed=? WHERE recording_id=?", (text, two))

    await central.running.central.db.run(spoil(canonical.dumps(told).decode()))
    assert not await upload(edge, central)
    assert set(await states(central)) == names(edge, "cut", "big")
    await central.running.central.db.run(spoil(str(sealed)))
    assert await upload(edge, central)
    assert set(await states(central)) == names(edge, "two", "cut", "big")


async def test_a_central_that_was_told_nothing_is_told_first(edge: make.Edge, central: TestCentral) -> None:
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        late = await make.record(edge, files, [make.sound(1, 7)])
        uploader = uploader_of(files, sync)
        assert not await uploader.look(), "its events have not gone yet"
        assert set(await states(central)) == names(edge, "two", "cut", "big")
        await sync.flush()
        assert await uploader.look()
    assert late.recording_id in await states(central)


async def test_a_restored_central_has_newer_payloads_again(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    toml: list[str | Path] = ["--central-config", central.folder / "central.toml", "--json"]
    assert (await make.acommand("central", "backup", tmp_path / "backup", *toml)).code == 0
    assert await upload(edge, central)
    await central.stop()
    assert (await make.acommand("central", "restore", tmp_path / "backup", *toml)).code == 0
    await central.start()
    assert central.running is not None
    assert await states(central) == {}, "the backup is older than the payloads"
    folder = central.config.media.folder
    for path in files_below(folder):
        os.utime(path, (0, 0))
    await leaving.sweep(central.running.central)
    assert len(files_below(folder)) == 4, "no edge was heard yet"
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        await sync._inbox.poll(0)
        await leaving.sweep(central.running.central)
        assert files_below(folder) == []
        await sync.flush()
        assert await uploader_of(files, sync).look()
        due = await files.journal._readers.read(lambda conn: conn.execute("SELECT result FROM media_due").fetchall())
        assert due == [("done",)] * 3
        await files.journal.begin_resend()
        assert len(await files.journal.media_due(10)) == 3
    assert set(await states(central)) == names(edge, "two", "cut", "big")
    payloads = sorted(path.read_bytes() for path in files_below(vault_of(edge)))
    assert len(files_below(folder)) == 4
    assert all(path.read_bytes() in payloads for path in files_below(folder))


async def test_without_media_at_central_it_waits_under_one_alarm(
    edge: make.Edge, central: TestCentral, tmp_path: Path
) -> None:
    await central.stop()
    central.config = with_folder(central, store="none").config
    await central.start()
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        uploader = uploader_of(files, sync)
        for _ in range(2):
            assert not await uploader._tried()
        alarms = [row.body["code"] for row in await files.journal.outbox(100) if row.type == "alarm.raised"]
        assert alarms == ["media.none"]
        assert len(await files.journal.media_due(10)) == 3


async def test_the_stage_runs_and_ends(edge: make.Edge, central: TestCentral) -> None:
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        uploader = uploader_of(files, sync, rate=50_000_000)
        task = asyncio.create_task(uploader.run())
        async with asyncio.timeout(20):
            while await files.journal.media_due(10):
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_the_pause_holds_the_rate() -> None:
    assert pause_s(1000, 0, 0.0) == 0.0
    assert pause_s(1000, 500, 0.5) == 1.5
    assert pause_s(1000, 500, 5.0) == 0.0


async def test_other_refusals_are_errors(edge: make.Edge, central: TestCentral) -> None:
    uplink = Uplink(
        central.url, "edge-2", edge.key, ca_pem=None, clock=SystemClock(), random_bytes=lambda n: b"\x01" * n
    )
    with pytest.raises(Refusal) as caught:
        await MediaLink(uplink).state("00" * 64)
    assert caught.value.central_code == "auth.unknown_edge"
    await uplink.close()
