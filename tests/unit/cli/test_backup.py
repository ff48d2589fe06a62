"""`callwarden backup` and `callwarden restore`: a copy of a whole edge, what is never in it, and what it gives back."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from edge.api.server import make_app, serve
from edge.gate import pending
from tests.unit.cli import cli_makers as make


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "backup"


def run(edge: make.Edge, *args: str | Path) -> make.Ran:
    """In a thread: the command has a loop of its own, and a test has one too."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(edge.run, *args).result()


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def listed(folder: Path) -> dict[str, object]:
    payload = json.loads((folder / "backup.json").read_bytes())["payload"]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))  # type: ignore[no-any-return]


async def backed_up(edge: make.Edge, place: Path) -> make.Ran:
    done = await edge.arun("backup", place, "--json")
    assert done.code == 0, done.err
    return done


async def test_a_backup_is_whole_and_has_no_key(filled: make.Edge, place: Path) -> None:
    slots = (filled.loaded.edge.state / "shred.keys").read_bytes()
    done = await backed_up(filled, place)
    assert done.json["gaps"] == []
    checked = await filled.arun("backup", "verify", place, "--json")
    assert (checked.code, checked.json["whole"]) == (0, True), checked.err
    all_bytes = b"".join(files_of(place).values())
    live = [slots[at + 8 : at + 40] for at in range(64, len(slots), 64) if slots[at] == 1]
    assert len(live) >= 5
    assert not any(key in all_bytes for key in live), "a shred key is in the backup"
    for secret in ("edge_key", "agi_token", "ami_secret", "central_token"):
        if secret in filled.paths:
            assert filled.paths[secret].read_bytes().strip() not in all_bytes, secret
    kinds = {one["kind"] for one in listed(place)["files"]}  # type: ignore[attr-defined]
    assert kinds == {"database", "vault", "configuration", "prompt"}
    erased = filled.facts["erased"].recording_id
    assert not any(erased in name for name in files_of(place))
    assert all(oct(p.stat().st_mode & 0o077) == "0o0" for p in place.rglob("*"))


async def test_what_is_unchanged_is_not_copied_again(filled: make.Edge, place: Path) -> None:
    await backed_up(filled, place)
    inodes = {p: p.stat().st_ino for p in place.rglob("*.payload@*")}
    async with make.opened(filled) as files:
        more = await make.record(filled, files, [make.sound(2, 9)])
        await make.erase(files, filled.facts["two"])
    again = await backed_up(filled, place)
    assert again.json["copied"] == 3, "the journal, one payload and its waveform"
    assert again.json["removed"] == 5, "the journal of before, two payloads that were erased and their waveforms"
    gone = filled.facts["two"].recording_id
    left = {p: p.stat().st_ino for p in place.rglob("*.payload@*") if p in inodes}
    assert all(inodes[p] == inode for p, inode in left.items())
    assert not any(gone in str(p) for p in place.rglob("*"))
    assert any(more.recording_id in str(p) for p in place.rglob("*"))
    assert run(filled, "backup", "verify", place).code == 0
    rows = run(filled, "backup", "list", "--json").json
    assert [bool(one["finished_at"]) for one in rows] == [True, True]


@pytest.mark.parametrize("renamed", [False, True])
async def test_a_compacted_payload_that_is_being_renamed_is_copied(
    filled: make.Edge, place: Path, tmp_path: Path, renamed: bool
) -> None:
    """Its row names the staged file, and what lies under the segment's own name is no longer it, or is it already."""
    two, stage = filled.facts["two"], "5a" * 16
    folder = filled.loaded.edge.vault / two.recording_id[:2] / two.recording_id
    path = sorted(folder.glob("*.payload"))[0]
    with sqlite3.connect(filled.loaded.edge.journal) as conn:
        conn.execute("UPDATE segment SET staged=? WHERE segment_id=?", (stage, path.stem))
    if not renamed:
        (folder / f"{stage}.payload").write_bytes(path.read_bytes())
        path.write_bytes(b"what it was before")
    done = await backed_up(filled, place)
    assert done.json["gaps"] == []
    shutil.rmtree(filled.loaded.edge.vault)
    assert run(filled, "restore", place, "--json").code == 0
    assert run(filled, "restore", "--accept-without-tombstones", "--reason", "none is missing").code == 0
    assert run(filled, "verify", two.recording_id, "--json").json["findings"] == []


async def test_every_changed_or_missing_file_is_found(filled: make.Edge, place: Path) -> None:
    await backed_up(filled, place)
    names = [name for name in files_of(place) if name not in (".lock", "backup.json")]
    for name in [n for n in names if not n.startswith("prompts")] + names[:1]:
        path = place / name
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        flipped = run(filled, "backup", "verify", place, "--json")
        assert flipped.code == 7
        assert name in [one["path"] for one in flipped.json["problems"]]
        path.unlink()
        assert run(filled, "backup", "verify", place).code == 7
        path.write_bytes(before)
    text = (place / "backup.json").read_text()
    (place / "backup.json").write_text(text.replace('"payload":"', '"payload":"A', 1))
    assert run(filled, "backup", "verify", place).code in (6, 7)
    (place / "backup.json").write_text(text)
    assert run(filled, "backup", "verify", place).code == 0


async def test_what_comes_back_opens_and_first_gives_nothing_out(
    filled: make.Edge, place: Path, tmp_path: Path
) -> None:
    """With its slots, a restored edge exports the very bytes; before somebody accepts, nothing at all."""
    await backed_up(filled, place)
    edge = filled.loaded.edge
    async with make.opened(filled) as files:
        await make.record(filled, files, [make.sound(1, 33)])  # later than the backup: the journal forgets it
    shutil.rmtree(edge.vault)
    done = run(filled, "restore", place, "--json")
    assert done.code == 0, done.err
    assert done.json["incarnation"] == 1
    assert Path(done.json["set_aside"]).exists()
    for what in (["calls"], ["recordings"], ["why", filled.facts["refused"].call_id]):
        refused = run(filled, *what, "--json")
        assert (refused.code, "restore.pending" in refused.err) == (75, True), (what, refused.err)
    two = filled.facts["two"]
    out = tmp_path / "two.wav"
    export = ["export", two.recording_id, "--identity", filled.paths["operator_identity"], "--output", out]
    assert run(filled, *export).code == 75
    assert run(filled, "status", "--json").code in (0, 4, 8), "status always answers"
    assert run(filled, "audit", "verify").code == 0
    assert run(filled, "backup", tmp_path / "other").code == 75, "what may hold erased things is not copied"
    unsaid = run(filled, "restore", "--accept-without-tombstones")
    assert (unsaid.code, "usage.reason" in unsaid.err) == (2, True)
    assert run(filled, "restore", "--accept-without-tombstones", "--reason", "central burnt down").code == 0
    assert run(filled, *export).code == 0
    assert out.read_bytes().endswith(two.audio)
    assert len(run(filled, "recordings", "--json").json) == 4
    kinds = [json.loads(one["entry"])["kind"] for one in filled_entries(edge.journal)]
    assert kinds.count("restore.accepted") == 1
    assert "log.restored" in kinds


def filled_entries(journal: Path) -> list[dict[str, str]]:
    conn = sqlite3.connect(journal)
    try:
        return [{"entry": row[0]} for row in conn.execute("SELECT entry FROM audit ORDER BY idx")]
    finally:
        conn.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
async def test_root_puts_an_edge_back_whose_daemon_has_its_own_user(run_dir: Path) -> None:
    """The daemon's user cannot enter root's backup; what comes back is the daemon's all the same."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        edge = make.make_edge(folder / "etc", run_dir, "--owner", "65534")
        (folder / "backup").mkdir(mode=0o700)
        os.seteuid(65534)
        try:
            async with make.opened(edge) as files:
                one = await make.record(edge, files, [make.sound(1, 1)])
        finally:
            os.seteuid(0)
        await backed_up(edge, folder / "backup" / "edge")
        for left in edge.loaded.edge.vault.iterdir():
            shutil.rmtree(left)
        done = run(edge, "restore", folder / "backup" / "edge", "--json")
        assert done.code == 0, done.err
        assert done.json["payloads"] > 0
        back = [edge.loaded.edge.journal, *edge.loaded.edge.vault.rglob("*")]
        assert any(one.recording_id in str(path) for path in back)
        assert {path.stat().st_uid for path in back} == {65534}
        assert run(edge, "restore", "--accept-without-tombstones", "--reason", "a trial").code == 0
        assert run(edge, "recordings").code == 0


async def test_a_restored_journal_is_a_new_incarnation(filled: make.Edge, place: Path) -> None:
    """Numbers of events begin anew, remembered answers and texts that wait are gone, the log goes on under a new name."""
    edge = filled.loaded.edge
    async with make.opened(filled) as files:
        before = (files.journal.instance_id, files.journal.incarnation, await files.journal.audit_size())
    await backed_up(filled, place)
    for n in (1, 2, 3):
        done = run(filled, "restore", place, "--json")
        assert (done.code, done.json["incarnation"]) == (0, n), done.err
    async with make.opened(filled) as files:
        assert files.journal.instance_id == before[0] == before[1]
        assert files.journal.incarnation == f"{before[0]}/3"
        rows = await files.journal.outbox(1000)
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        await files.journal.alarm("test", "one more")
        assert (await files.journal.outbox(1000))[-1].seq == len(rows) + 1
        entries = await files.journal.audit_entries(0, 10_000)
        said = [json.loads(one.entry) for one in entries if "log.restored" in one.entry]
        assert [one["body"]["incarnation"] for one in said] == [3], "each restore began from the backup"
        assert said[0]["body"]["witnessed"] is None, "no central was there to ask"
        assert said[0]["body"]["entries"] >= before[2]
        await make.checkpoint(filled, files)
        head = await files.journal.last_checkpoint()
        assert head is not None
        assert head.note.startswith(f"callwarden/edge-1/{before[0]}/3\n")
    assert run(filled, "audit", "verify").code == 0
    conn = sqlite3.connect(edge.journal)
    assert conn.execute("SELECT count(*) FROM answer").fetchone() == (0,)
    assert conn.execute("SELECT count(*) FROM backup WHERE finished_at IS NULL").fetchone() == (0,)
    conn.close()


async def test_a_damaged_backup_changes_nothing(filled: make.Edge, place: Path) -> None:
    await backed_up(filled, place)
    edge = filled.loaded.edge
    shutil.rmtree(edge.vault)
    journal = edge.journal.read_bytes()
    payload = next(place.rglob("*.payload@*"))
    data = payload.read_bytes()
    payload.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused = run(filled, "restore", place)
    assert (refused.code, "backup.damaged" in refused.err) == (7, True), refused.err
    assert edge.journal.read_bytes() == journal
    assert payload.name.split("@")[0] not in [p.name for p in edge.vault.rglob("*")]


async def test_another_edges_backup_and_a_running_daemon_are_refused(
    filled: make.Edge, place: Path, tmp_path: Path
) -> None:
    await backed_up(filled, place)
    async with make.opened(filled):
        locked = await filled.arun("restore", place)
        assert (locked.code, "journal.locked" in locked.err) == (8, True)
    other = make.make_edge(tmp_path / "other", tmp_path)
    refused = run(other, "restore", place)
    assert refused.code == 6, "its list is signed by a key that is not this edge's"
    inside = run(filled, "backup", filled.loaded.edge.vault / "backup")
    assert (inside.code, "backup.place" in inside.err) == (8, True)
    (tmp_path / "open").mkdir(mode=0o755)
    wide = run(filled, "backup", tmp_path / "open")
    assert (wide.code, "chmod 700" in wide.err) == (8, True)


async def test_a_backup_deletes_nothing_that_it_did_not_make(filled: make.Edge, place: Path, tmp_path: Path) -> None:
    """A folder with anything else in it is refused; one that holds, or lies in, what the configuration names, too."""
    place.mkdir(mode=0o700)
    (place / "letters").mkdir()
    (place / "letters" / "to a friend").write_text("dear")
    refused = run(filled, "backup", place)
    assert (refused.code, "letters/to a friend" in refused.err) == (8, True), refused.err
    assert list(files_of(place)) == ["letters/to a friend"]
    edge = filled.loaded.edge
    for root in (edge.journal.parent, filled.config.parent, edge.prompts / "b", edge.state / "b"):
        before = files_of(root)
        refused = run(filled, "backup", root)
        assert (refused.code, "backup.place" in refused.err) == (8, True), (root, refused.err)
        assert files_of(root) == before
    (place / "letters" / "to a friend").unlink()
    await backed_up(filled, place)
    (place / "vault" / "note").write_text("mine")
    (place / "README").write_text("mine too")
    (place / "vault" / ".left.part").write_text("of a run that broke off")
    again = await backed_up(filled, place)
    assert again.json["removed"] == 2, "the journal of before, and the part"
    assert {"vault/note", "README"} <= set(files_of(place))


async def test_live_while_calls_are_written(filled: make.Edge, place: Path) -> None:
    """The daemon's side goes on writing: the copy is of one moment, and the door knows of it before there is one."""
    async with make.opened(filled) as files:
        door = await serve(make_app(make.deps(filled, files)), filled.loaded.edge.socket)
        stop = asyncio.Event()

        async def calls() -> int:
            made = 0
            while not stop.is_set():
                await make.record(filled, files, [make.sound(0.5, made)])
                made += 1
                await asyncio.sleep(0)
            return made

        work = asyncio.create_task(calls())
        try:
            for _ in range(3):
                await asyncio.sleep(0.2)
                await backed_up(filled, place)
        finally:
            stop.set()
        assert await work > 3
        assert (await filled.arun("backup", "verify", place)).code == 0
        rows = [one._asdict() for one in await files.journal.backups()]
        assert len(rows) == 3
        assert all(one["finished_at"] for one in rows)
        await door.cleanup()
    conn = sqlite3.connect(next(place.glob("journal.db@*")))
    named = conn.execute("SELECT count(*) FROM segment WHERE payload_bytes>0 AND state<>'shredded'").fetchone()[0]
    conn.close()
    assert named == len(list(place.rglob("*.payload@*")))


#: What the daemon's door does while a restored journal is not settled.
OPEN = {
    "GET /v1/status", "GET /v1/audit/entries", "GET /v1/audit/checkpoints", "GET /v1/backups", "POST /v1/reload",
    "POST /v1/backups/{id}/made", "POST /v1/restore/accept", "POST /v1/calls/{call}/{act}", "POST /v1/holds",
    "POST /v1/holds/{hold}/release", "POST /v1/adopt/{id}/removing", "POST /v1/adopt/{id}/gone",
}  # fmt: skip


async def test_the_shut_gate_stops_every_other_request(filled: make.Edge) -> None:
    """Each route of the door, and each method: nothing answers about a number or a recording, and nothing is ordered."""
    async with make.opened(filled) as files:
        app = make_app(replace(make.deps(filled, files), refusal=lambda: pending("a trial")))
        socket = filled.loaded.edge.socket
        door = await serve(app, socket)
        try:
            answered = set()
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(socket))) as session:
                for route in app.router.routes():
                    assert route.resource is not None
                    named = route.resource.canonical
                    path = named.replace("{act}", "pause").replace("{n}", "1").replace("{verb}", "locate")
                    path = re.sub(r"\{\w+\}", "0" * 32, path)
                    async with session.request(route.method, f"http://edge{path}?place=/mnt/b", json={}) as answer:
                        body = "" if route.method == "HEAD" else await answer.text()
                        if answer.status != 503 or (body and "restore.pending" not in body):
                            answered.add(f"{route.method} {named}".replace("HEAD", "GET"))
            assert answered == OPEN
        finally:
            await door.cleanup()


async def test_a_hostile_list_cannot_point_out_of_its_folder(filled: make.Edge, place: Path) -> None:
    """Also one that the edge's own stolen key signed."""
    from formats.jws import sign_general

    await backed_up(filled, place)
    good = listed(place)
    for path, source in (("../x", "aa/b"), ("/etc/x", "aa/b"), ("vault/x", "../../etc/cron.d/x"), ("vault/.x", "a/b")):
        bad = dict(good)
        bad["files"] = [
            *good["files"],
            {"path": path, "kind": "vault", "bytes": 0, "sha512": "0" * 128, "source": source},
        ]  # type: ignore[misc]
        document = sign_general(json.dumps(bad).encode(), [(filled.key, filled.key.kid)], "callwarden-backup+json")
        (place / "backup.json").write_text(json.dumps(document))
        refused = run(filled, "restore", place)
        assert (refused.code, "backup.path" in refused.err) == (7, True), refused.err
