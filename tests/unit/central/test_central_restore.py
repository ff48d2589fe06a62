"""Central put back from a backup: it gives nothing out before its edges have said what they erased, and no key comes back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callwarden.backup import central as backups
from central import setup
from central.edgebook import BELIEVED_S
from edge.errors import CallwardenError
from edge.store.anonymous import anonymise
from formats.ids import format_time
from formats.keychange import read_key_change, sign_key_change, with_new_key
from formats.keys import SigningKey
from formats.keyset import KeySet, entry
from tests.unit.central.central_kit import TestCentral, TestEdge, a_central, a_key
from tests.unit.cli.cli_makers import acommand
from tests.unit.retention.restore_kit import RestoredEdge
from tests.unit.store import store_makers as makers

KEY = SigningKey.from_seed(b"\x23" * 32)
ROOT = Path(__file__).parents[3]


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    async with a_central(tmp_path / "central") as running:
        setup.register_edge(running.config, "edge-1", KEY.verify_key)
        yield running


@pytest.fixture
async def edge(central: TestCentral, tmp_path: Path) -> AsyncIterator[RestoredEdge]:
    (tmp_path / "edge").mkdir()
    made = await RestoredEdge.open(tmp_path / "edge", KEY, central)
    yield made
    await made.close()


async def said(*words: str | Path) -> dict[str, object]:
    done = await acommand("central", *words, "--json")
    assert done.code == 0, done.err
    return done.json  # type: ignore[no-any-return]


def toml(central: TestCentral) -> list[str | Path]:
    return ["--central-config", central.folder / "central.toml"]


async def prepared(central: TestCentral, edge: RestoredEdge, place: Path) -> tuple[str, str, str, list[bytes]]:
    """A backup made while central runs; then one recording erased by order, one more, and central stopped."""
    assert edge.sync is not None
    gone, kept = await edge.record(), await edge.record()
    keys = [await edge.slots.read(one.segment.header.slot) for one in (gone, kept)]
    await edge.sync.flush()
    await said("backup", place, *toml(central))
    order = await central.signed_order(gone.recording_id)
    assert (await central.admin("POST", "/v1/orders", {"order": order}))[0] == 202
    await edge.sync._inbox.poll(0)
    await edge.executor.once()
    await edge.sync.flush()
    return gone.recording_id, kept.recording_id, str(order), keys


async def test_59_a_restored_central_hears_its_edges_first(
    central: TestCentral, edge: RestoredEdge, tmp_path: Path
) -> None:
    place = tmp_path / "backup"
    new = {"kind": "access", "numbers": ["777123456"], "country": "CZ"}
    ref = (await central.admin("POST", "/v1/cases", new))[1]["ref"]
    gone, kept, _, keys = await prepared(central, edge, place)
    held = b"".join(p.read_bytes() for p in place.rglob("*") if p.is_file())
    for secret in (central.config.store_key, central.config.witness_key, central.config.token):
        assert secret.read_bytes().strip() not in held
    assert not any(key in held for key in keys)
    locked = await acommand("central", "restore", place, *toml(central))
    assert (locked.code, "environment.locked" in locked.err) == (8, True), locked.err
    await central.stop()
    done = await said("restore", place, *toml(central))
    assert (done["edges"], done["keys_gone"]) == (["edge-1"], 1), "the keeper itself knows that one key is gone"
    await central.start()
    reads = ("/v1/recordings", f"/v1/recordings/{gone}", "/v1/calls", "/v1/media", f"/v1/cases/{ref}")
    for path in (*reads, "/v1/receipts", f"/v1/receipts/{'ab' * 16}", f"/v1/orders/{'ab' * 16}"):
        status, problem = await central.admin("GET", path)
        assert (status, problem["code"]) == (503, "central.restored")
        assert "edge-1" in problem["what"]
    status, problem = await central.admin("POST", f"/v1/recordings/{kept}/headers", {})
    assert (status, problem["code"]) == (503, "central.restored"), "no key is given out either"
    assert (await central.admin("POST", f"/v1/cases/{ref}/notes", {"text": "x"}))[0] == 503, (
        "its answer shows what was found"
    )
    _, carried = await central.admin("POST", "/v1/receipts", {"edge_id": "nobody", "receipts": []})
    assert carried["code"].startswith("usage."), "what an edge without a network says is still taken"
    assert (await central.admin("GET", f"/v1/orders/{'ab' * 16}/file"))[0] == 404, "what is carried by hand goes"
    assert (await central.admin("GET", "/v1/orders"))[0] == 200
    # A request that comes meanwhile is filed: its clock runs.
    assert (await central.admin("POST", "/v1/cases", new))[0] == 201
    assert await central.rows("SELECT count(*) FROM receipt") == [(0,)], "the backup is older"
    assert edge.sync is not None
    await edge.sync._inbox.poll(25)
    await edge.sync.flush()
    status, found = await central.admin("GET", "/v1/recordings")
    assert status == 200
    heads = {one["recording_id"]: [h["kept"] for h in one["headers"]] for one in found["recordings"]}
    assert heads == {gone: [False], kept: [True]}
    assert (await central.admin("GET", f"/v1/cases/{ref}"))[0] == 200
    assert [r["result"] for r in (await central.admin("GET", "/v1/receipts"))[1]["receipts"]] == ["done"]
    assert keys[0] not in central.config.keeper.read_bytes()
    assert keys[1] in central.config.keeper.read_bytes()
    entries = [json.loads(row[0]) for row in await central.rows("SELECT entry FROM log ORDER BY idx")]
    assert [one["body"]["accepted"] for one in entries if one["kind"] == "restore.heard"] == [False]
    await edge.sync._inbox.poll(0)
    rows = await edge.journal.audit_entries(0, 1000)
    assert sum("sync.central_restored" in one.entry for one in rows) == 1


async def test_who_was_revoked_since_the_backup_stays_out(
    central: TestCentral, edge: RestoredEdge, tmp_path: Path
) -> None:
    """An edge whose key was changed in between, and a token; what was revoked before, or never, is as it was."""
    token, row = setup.token_new(central.config, "ops", "night shift", None)
    other = TestEdge(central, "edge-2")
    await said("backup", tmp_path / "backup", *toml(central))
    new = a_key()
    change = sign_key_change("edge-2", other.key, new, format_time(central.wall()))
    other.key, old = new, other.key
    assert (await other.ask("POST", other.path("key"), {"statement": change}))[0] == 200
    assert (await central.admin("POST", "/v1/edges/edge-2/revoke", {"reason": "stolen"}))[0] == 200
    assert (await central.admin("DELETE", f"/v1/tokens/{row.id}"))[0] == 200
    place = central.config.keeper.with_suffix(".revoked")
    assert place.stat().st_mode & 0o777 == 0o600
    with place.open("a") as torn:
        torn.write("edge edge-1 x 2026-")  # a power cut in the middle of a line
    second = setup.token_new(central.config, "dpo", "left", None)[1]
    setup.token_revoke(central.config, second.id)  # is not in the backup at all
    await central.stop()
    done = await said("restore", tmp_path / "backup", *toml(central))
    assert (done["revoked"], done["tokens_revoked"], done["revocations_listed"]) == (["edge-2"], [row.id], True)
    await central.start()
    for key in (old, new):
        other.key = key
        status, answer = await other.ask("GET", other.path("audit"))
        assert (status, answer["code"]) == ((403, "auth.edge_revoked") if key is old else (401, "auth.unknown_key"))
    assert (await central.admin("GET", "/v1/edges", token=token))[1]["code"] == "auth.token_over"
    _, listed = await central.admin("GET", "/v1/edges")
    assert [(one["edge_id"], one["state"]) for one in listed["edges"]] == [
        ("edge-1", "enrolled"),
        ("edge-2", "revoked"),
    ]
    assert (await central.admin("GET", "/v1/alarms"))[1]["alarms"] == []


async def test_an_edge_whose_key_the_backup_does_not_know_is_let_in_by_its_trust_file(
    central: TestCentral, edge: RestoredEdge, tmp_path: Path
) -> None:
    other = TestEdge(central, "edge-2")
    old, new, at = other.key, a_key(), format_time(central.wall())
    await said("backup", tmp_path / "backup", *toml(central))
    change = sign_key_change("edge-2", old, new, at)
    other.key = new
    assert (await other.ask("POST", other.path("key"), {"statement": change}))[0] == 200
    await central.stop()
    await said("restore", tmp_path / "backup", *toml(central))
    await central.start()
    assert (await other.ask("GET", other.path("audit")))[1]["code"] == "auth.unknown_key"
    trust = tmp_path / "trust.json"
    words = ("edge", "set-key", "edge-2", "--trust", trust, "--reason", "put back", *toml(central))
    stranger = entry(a_key().verify_key, "edge", "edge-2", edge_id="edge-2")
    for wrong in ([stranger], [stranger, entry(new.verify_key, "edge", "edge-2", edge_id="edge-2")]):
        trust.write_bytes(KeySet.of(wrong).dump())
        refused = await acommand("central", *words)
        assert "auth.key_change" in refused.err
    pinned = KeySet.of([entry(old.verify_key, "edge", "edge-2", edge_id="edge-2")])
    trust.write_bytes(with_new_key(pinned, read_key_change(change)).dump())
    assert (await said(*words)) == {"edge_id": "edge-2", "old": old.kid, "new": new.kid}
    assert (await said(*words))["new"] is None
    async with asyncio.timeout(BELIEVED_S + 10):
        while (await other.ask("GET", other.path("audit")))[0] != 200:
            await asyncio.sleep(0.2)
    _, shown = await central.admin("GET", "/v1/edges/edge-2")
    assert shown["former_keys"] == [{"kid": old.kid, "retired_at": at}]
    [alarm] = [one for one in (await central.admin("GET", "/v1/alarms"))[1]["alarms"] if one["edge_id"] == "edge-2"]
    assert (alarm["code"], "put back" in alarm["message"]) == ("edge.key_set", True)
    other.key = old
    assert (await other.ask("GET", other.path("audit")))[0] == 401
    await central.admin("POST", "/v1/edges/edge-2/revoke", {"reason": "stolen"})
    assert "auth.edge_revoked" in (await acommand("central", *words)).err


async def test_a_restore_without_the_list_says_what_to_do(
    central: TestCentral, edge: RestoredEdge, tmp_path: Path
) -> None:
    await said("backup", tmp_path / "backup", *toml(central))
    assert (await central.admin("POST", "/v1/edges/edge-1/revoke", {"reason": "stolen"}))[0] == 200
    await central.stop()
    central.config.keeper.with_suffix(".revoked").unlink()  # the host was lost with it
    done = await said("restore", tmp_path / "backup", *toml(central))
    assert (done["revoked"], done["revocations_listed"]) == ([], False)
    await central.start()
    [alarm] = (await central.admin("GET", "/v1/alarms"))[1]["alarms"]
    assert (alarm["code"], "revoke again" in alarm["message"]) == ("central.revocation_unnoted", True)


async def test_a_revocation_that_cannot_be_listed_is_one_and_alarms(central: TestCentral, tmp_path: Path) -> None:
    central.config.keeper.with_suffix(".revoked").symlink_to(tmp_path / "elsewhere")
    _, row = setup.token_new(central.config, "ops", "night shift", None)
    status, answer = await central.admin("POST", "/v1/edges/edge-1/revoke", {"reason": "stolen"})
    assert (status, answer["state"]) == (200, "revoked")
    assert (await central.admin("DELETE", f"/v1/tokens/{row.id}"))[0] == 200
    codes = [one["code"] for one in (await central.admin("GET", "/v1/alarms"))[1]["alarms"]]
    assert codes.count("central.revocation_unnoted") == 2
    assert not (tmp_path / "elsewhere").exists()


async def test_a_restored_central_hears_which_calls_became_anonymous(
    central: TestCentral, edge: RestoredEdge, tmp_path: Path
) -> None:
    """A call that was made anonymous after the backup is so again before anything is given out; another one stays."""
    assert edge.sync is not None
    calls = [makers.call(), makers.call()]
    for one in calls:
        await edge.journal.open_call(one)
        await edge.journal.end_call(one.call_id, makers.AT)
    await edge.sync.flush()
    await said("backup", tmp_path / "backup", *toml(central))
    gone, kept = (one.call_id for one in calls)
    journal = edge.journal
    await journal._writer.do(lambda conn: anonymise(conn, journal._audit, makers.AT, gone))
    await edge.sync.flush()
    [after] = await central.rows("SELECT opened, anonymised FROM call WHERE call_id=?", gone)
    await central.stop()
    await said("restore", tmp_path / "backup", *toml(central))
    await central.start()
    [before] = await central.rows("SELECT opened, anonymised FROM call WHERE call_id=?", gone)
    assert "linked_id" in before[0], "the backup is older"
    await edge.sync._inbox.poll(0)
    assert (await central.admin("GET", "/v1/calls"))[0] == 200
    assert await central.rows("SELECT opened, anonymised FROM call WHERE call_id=?", gone) == [after]
    [(opened, anonymised)] = await central.rows("SELECT opened, anonymised FROM call WHERE call_id=?", kept)
    assert ("linked_id" in opened, anonymised) == (True, None)


async def test_an_edge_that_never_answers_is_accepted_by_name(
    central: TestCentral, edge: RestoredEdge, tmp_path: Path
) -> None:
    place = tmp_path / "backup"
    await prepared(central, edge, place)
    await central.stop()
    await said("restore", place, *toml(central))
    await central.start()
    why = await acommand("central", "restore", "--accept-edge", "edge-1", *toml(central))
    assert (why.code, "usage.reason" in why.err) == (2, True)
    other = await acommand("central", "restore", "--accept-edge", "edge-9", "--reason", "it is gone", *toml(central))
    assert other.code == 5
    await said("restore", "--accept-edge", "edge-1", "--reason", "the site was closed", *toml(central))
    assert (await central.admin("GET", "/v1/recordings"))[0] == 200


async def test_a_damaged_backup_of_central_changes_nothing(
    central: TestCentral, edge: RestoredEdge, tmp_path: Path
) -> None:
    place = tmp_path / "backup"
    await prepared(central, edge, place)
    await central.stop()
    before = central.config.database.read_bytes()
    [database] = place.glob("central.db@*")
    data = database.read_bytes()
    database.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CallwardenError, match=r"backup\.damaged"):
        await asyncio.to_thread(backups.restore, central.config, place)
    assert central.config.database.read_bytes() == before


async def test_a_damaged_database_of_central_is_replaced(
    central: TestCentral, edge: RestoredEdge, tmp_path: Path
) -> None:
    """It goes aside with its WAL as it lies there; central starts from the backup."""
    place = tmp_path / "backup"
    _, kept, _, _ = await prepared(central, edge, place)
    await central.stop()
    ruin = b"no database at all" * 500
    central.config.database.write_bytes(ruin)
    done = await said("restore", place, *toml(central))
    assert Path(str(done["set_aside"])).read_bytes() == ruin
    await central.start()
    await said("restore", "--accept-edge", "edge-1", "--reason", "the site was closed", *toml(central))
    status, found = await central.admin("GET", f"/v1/recordings/{kept}")
    assert (status, [h["kept"] for h in found["headers"]]) == (200, [True])


async def test_a_backup_never_touches_centrals_own_folder(central: TestCentral, tmp_path: Path) -> None:
    """Central's folder, one in it and one that holds it: refused, and keys and database stay."""
    before = {p: p.stat().st_ino for p in central.folder.rglob("*")}
    central.folder.chmod(0o700)
    tmp_path.chmod(0o700)
    for root in (central.folder, central.folder / "backup", tmp_path):
        refused = await acommand("central", "backup", root, *toml(central))
        assert (refused.code, "backup.place" in refused.err) == (8, True), refused.err
    assert before.items() <= {p: p.stat().st_ino for p in central.folder.rglob("*")}.items()
    assert not (central.folder / "backup").exists()


#: Points of the write order `restore of central`.
POINTS = ["restore.central_marked", "restore.central_placed"]


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(point: str, central: TestCentral, edge: RestoredEdge, tmp_path: Path) -> None:
    place = tmp_path / "backup"
    gone, _, _, keys = await prepared(central, edge, place)
    await central.stop()
    words = [sys.executable, "-m", "callwarden", "central", "restore", str(place), *map(str, toml(central))]
    environment = {**os.environ, "CALLWARDEN_FAILPOINT": point}
    killed = await asyncio.to_thread(subprocess.run, words, env=environment, cwd=ROOT, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    await central.start()
    status, _ = await central.admin("GET", f"/v1/recordings/{gone}")
    assert status == (503 if point == "restore.central_placed" else 200), "the old one whole, or the new one marked"
    await central.stop()
    await said("restore", place, *toml(central))
    await central.start()
    assert edge.sync is not None
    await edge.sync._inbox.poll(0)
    status, found = await central.admin("GET", f"/v1/recordings/{gone}")
    assert (status, [h["kept"] for h in found["headers"]]) == (200, [False])
    assert keys[0] not in central.config.keeper.read_bytes()
