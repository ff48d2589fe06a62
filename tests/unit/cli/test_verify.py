"""`callwarden verify`: every kind of damage is found, what is safe is mended, the rest is quarantined, and it can be stopped."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.api.deps import ApiDeps
from edge.api.server import make_app, serve
from edge.clock import SystemClock
from edge.errors import CallwardenError
from edge.integrity.inspector import Inspector, Means
from edge.recorder.leftovers import CaptureLeftovers
from edge.recorder.resume import ResumeFolder
from edge.recorder.spool import Spool
from edge.vault.payloads import PayloadVault
from tests.unit.cli import cli_makers as make
from tests.unit.cli.test_parts import entries

Harm = Callable[[make.Edge, Path], None]


@pytest.fixture
async def stored(edge: make.Edge) -> make.Edge:
    """facts: `two`, `one`, `cut` sealed recordings, an `erased` one. None is live."""
    async with make.opened(edge) as files:
        edge.facts = {
            "two": await make.record(edge, files, [make.sound(5, 1), make.sound(3.5, 2)]),
            "one": await make.record(edge, files, [make.sound(2, 3)]),
            "cut": await make.record(edge, files, [make.sound(9, 4)], end="truncated"),
            "erased": await make.record(edge, files, [make.sound(2, 5)]),
        }
        await make.erase(files, edge.facts["erased"])
    return edge


def payload(edge: make.Edge, name: str, number: int = 0) -> Path:
    recording_id = edge.facts[name].recording_id
    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        segment = conn.execute(
            "SELECT segment_id FROM segment WHERE recording_id=? AND number=?", (recording_id, number)
        ).fetchone()[0]
    return edge.loaded.edge.vault / recording_id[:2] / recording_id / f"{segment}.payload"


def sql(edge: make.Edge, text: str, *args: Any) -> None:
    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        conn.execute(text, args)


def state(edge: make.Edge, name: str) -> str:
    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        row = conn.execute("SELECT state FROM recording WHERE recording_id=?", (edge.facts[name].recording_id,))
        return str(row.fetchone()[0])


def codes(ran: make.Ran) -> list[str]:
    assert ran.out, ran.err
    return [f["code"] for f in ran.json["findings"]]


def test_nothing_is_wrong_with_what_nobody_touched(stored: make.Edge) -> None:
    done = stored.run("verify", "--json", "-i", stored.paths["operator_identity"])
    assert (done.code, done.json["findings"]) == (0, []), done.err
    assert (done.json["sound"], done.json["recordings"], done.json["opened"]) == (True, 4, 3)
    text = stored.run("verify").out
    assert "4 recordings looked at: all is as it should be" in text
    last = [e["kind"] for e in entries(stored)]
    assert last.count("verify.begun") == last.count("verify.ended") == 2
    assert [e["body"]["form"] for e in entries(stored) if e["kind"] == "recording.read"] == ["verify"] * 4


def _flip(edge: make.Edge, path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _shorten(edge: make.Edge, path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _remove(edge: make.Edge, path: Path) -> None:
    path.unlink()


def _swap(edge: make.Edge, path: Path) -> None:
    path.write_bytes(payload(edge, "cut").read_bytes()[: path.stat().st_size])


def _link(edge: make.Edge, path: Path) -> None:
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path.with_suffix(".away"))


def _key(edge: make.Edge, path: Path) -> None:
    slot = edge.facts["two"].slots[0]
    with (edge.loaded.edge.state / "shred.keys").open("r+b") as file:
        file.seek(slot * 64 + 8)
        file.write(secrets.token_bytes(32))


def _header(edge: make.Edge, path: Path) -> None:
    sql(edge, "UPDATE header SET sealed_header=zeroblob(300) WHERE segment_id=?", path.stem)


def _rate(edge: make.Edge, path: Path) -> None:
    sql(edge, "UPDATE capture SET rate=16000 WHERE recording_id=?", edge.facts["two"].recording_id)


def _tags(edge: make.Edge, path: Path) -> None:
    sql(edge, "UPDATE segment SET tags_hash=zeroblob(32) WHERE segment_id=?", path.stem)


def _suite(edge: make.Edge, path: Path) -> None:
    sql(edge, "UPDATE header SET suite='aes256gcm' WHERE segment_id=?", path.stem)


def _encoding(edge: make.Edge, path: Path) -> None:
    sql(edge, "UPDATE segment SET encoding='flac', frames=plain_bytes/4 WHERE segment_id=?", path.stem)


def _frames(edge: make.Edge, path: Path) -> None:
    sql(edge, "UPDATE segment SET frames=1 WHERE segment_id=?", path.stem)


def _manifest(edge: make.Edge, path: Path) -> None:
    sql(edge, "UPDATE recording SET manifest=manifest || 'A' WHERE recording_id=?", edge.facts["two"].recording_id)


def _no_manifest(edge: make.Edge, path: Path) -> None:
    sql(edge, "UPDATE recording SET manifest=NULL WHERE recording_id=?", edge.facts["two"].recording_id)


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (_flip, ["payload.changed"]), (_shorten, ["payload.short"]), (_remove, ["payload.missing"]),
        (_swap, ["payload.changed"]), (_link, ["payload.planted"]), (_key, ["key.lost"]), (_header, ["key.lost"]),
        (_rate, ["manifest.differs"]), (_tags, ["manifest.differs"]), (_manifest, ["manifest.bad"]),
        (_no_manifest, ["manifest.missing"]), (_suite, ["manifest.differs"]), (_encoding, ["manifest.differs"]),
        (_frames, ["manifest.differs"]),
    ],
)  # fmt: skip
def test_damage_is_found_reported_and_with_repair_quarantined(
    stored: make.Edge, harm: Harm, expected: list[str]
) -> None:
    two = stored.facts["two"].recording_id
    harm(stored, payload(stored, "two"))
    found = stored.run("verify", "--json")
    assert (found.code, codes(found)) == (7, expected), found.err
    assert [f["where"] for f in found.json["findings"]] == [two]
    assert state(stored, "two") == "sealed"  # a look changes nothing
    mended = stored.run("verify", "--json", "--repair")
    assert (mended.code, codes(mended), state(stored, "two")) == (7, expected, "quarantined")
    assert all(f["done"] for f in mended.json["findings"])
    assert [state(stored, name) for name in ("one", "cut", "erased")] == ["sealed", "sealed", "erased"]
    last = [e for e in entries(stored) if e["kind"] == "recording.quarantined"]
    assert [(e["body"]["why"], e["body"]["uid"]) for e in last] == [(expected, os.getuid())]
    assert stored.run("verify", two, "--json", "--repair").code == 7  # it stays so, and is said again
    assert state(stored, "two") == "quarantined"
    refused = stored.run("export", two, "--raw-age", "-o", stored.folder / "x.age")
    assert (refused.code, "command.quarantined" in refused.err) == (6, True)


def test_what_is_restricted_is_checked_and_not_opened(stored: make.Edge) -> None:
    two = stored.facts["two"].recording_id
    sql(
        stored, "INSERT INTO hold(hold_id, scope, target, reason, placed_by, placed_at, kind)"
        " VALUES('h', 'recording', ?, 'disputed', 'dpo', ?, 'restriction')", two, make.AT,
    )  # fmt: skip
    look = ("verify", two, "--json", "-i", stored.paths["operator_identity"], "--case", "c-7")
    sound = stored.run(*look)
    assert (sound.code, sound.json["opened"], sound.json["restricted"]) == (0, 0, [two]), sound.err
    assert not [e for e in entries(stored) if e["kind"] == "recording.read"]
    assert "1 are restricted and were not opened" in stored.run(*(one for one in look if one != "--json")).err
    _flip(stored, payload(stored, "two"))
    found = stored.run(*look)
    assert (found.code, codes(found)) == (7, ["payload.changed"])


def test_what_was_explained_goes_back(stored: make.Edge) -> None:
    two, path = stored.facts["two"].recording_id, payload(stored, "two")
    kept = path.read_bytes()
    _flip(stored, path)
    assert stored.run("verify", two, "--repair").code == 7
    path.write_bytes(kept)  # the disk was mended, or the backup put back
    seen = stored.run("verify", two, "--json")
    assert (seen.code, codes(seen), state(stored, "two")) == (7, ["quarantine.explained"], "quarantined")
    again = stored.run("verify", two, "--json", "--repair", "-i", stored.paths["operator_identity"])
    assert (again.code, again.json["opened"], state(stored, "two")) == (0, 1, "sealed")
    assert stored.run("export", two, "--raw-age", "-o", stored.folder / "x.age").code == 0
    assert [e["kind"] for e in entries(stored)].count("recording.explained") == 1


def test_a_leftover_behind_the_end_is_cut_and_only_that(stored: make.Edge) -> None:
    path = payload(stored, "two", 1)
    kept = path.read_bytes()
    path.write_bytes(kept + b"x" * 70_000)
    found = stored.run("verify", "--json")
    assert (found.code, codes(found), path.stat().st_size) == (7, ["payload.leftover"], len(kept) + 70_000)
    mended = stored.run("verify", "--json", "--repair")
    assert (mended.code, codes(mended), path.read_bytes() == kept) == (0, ["payload.leftover"], True)
    assert [e["kind"] for e in entries(stored)][-4:] == [
        "verify.begun", "verify.repair", "verify.repaired", "verify.ended",
    ]  # fmt: skip
    assert stored.run("verify").code == 0


def test_a_leftover_behind_a_changed_payload_is_not_touched(stored: make.Edge) -> None:
    path = payload(stored, "one")
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data + b"more")
    done = stored.run("verify", "--json", "--repair")
    assert (codes(done), state(stored, "one")) == (["payload.changed"], "quarantined")
    assert path.read_bytes() == data + b"more"


def test_payloads_that_outlived_and_payloads_nobody_knows(stored: make.Edge) -> None:
    vault, erased, unknown = stored.loaded.edge.vault, stored.facts["erased"].recording_id, "ab" * 16
    made = []
    for recording_id, segment_id in ((erased, "01" * 16), (unknown, "02" * 16)):
        folder = vault / recording_id[:2] / recording_id
        folder.mkdir(parents=True, mode=0o700)
        made.append(folder / f"{segment_id}.payload")
        made[-1].write_bytes(b"ciphertext")
    done = stored.run("verify", "--json", "--repair")
    assert (done.code, sorted(codes(done))) == (7, ["payload.outlived", "payload.unnamed"])
    assert [path.exists() for path in made] == [False, True]
    again = stored.run("verify", "--json", "--repair")
    assert codes(again) == ["payload.unnamed"]  # perhaps an older journal was put back: a person decides


def test_keys_and_captures_that_nobody_owns(stored: make.Edge) -> None:
    async def put() -> int:
        async with make.opened(stored) as files:
            return await files.slots.put(b"k" * 32)

    slot = asyncio.run(put())
    spool, resume = stored.loaded.edge.spool, stored.loaded.edge.resume
    (spool / "stray.sln").write_bytes(b"speech")
    (resume / ("cd" * 16 + ".key")).write_bytes(b"key")
    found = stored.run("verify", "--json")
    assert (found.code, sorted(codes(found))) == (7, ["key.unnamed", "resume.leftover", "spool.leftover"])
    assert (spool / "stray.sln").exists()
    mended = stored.run("verify", "--json", "--repair")
    assert (mended.code, len(mended.json["findings"])) == (0, 3), mended.err
    assert list(spool.iterdir()) == [] == [p for p in resume.iterdir() if p.suffix == ".key"]
    with (stored.loaded.edge.state / "shred.keys").open("rb") as file:
        assert file.seek(slot * 64) == slot * 64
        assert b"k" * 32 not in file.read(64)
    assert stored.run("verify").code == 0
    assert "stray.sln" not in json.dumps(entries(stored))


def test_temporary_files_that_nobody_finished(stored: make.Edge) -> None:
    folder = payload(stored, "one").parent
    old, young = folder / f".x.{'0a' * 8}.tmp", folder / f".y.{'0b' * 8}.tmp"
    waveform = folder / f"{'0c' * 16}.waveform.new"
    for path in (old, young, waveform):
        path.write_bytes(b"half")
    for path in (old, waveform):
        os.utime(path, (1e9, 1e9))
    done = stored.run("verify", "--json", "--repair")
    assert (done.code, codes(done)) == (0, ["vault.leftover"] * 2)
    assert [path.exists() for path in (old, waveform, young)] == [False, False, True]


def test_a_segment_that_an_incident_removed_is_no_damage(stored: make.Edge) -> None:
    """And its payload, if it outlived, goes alone."""
    two, path = stored.facts["two"], payload(stored, "two")
    kept = path.read_bytes()

    async def remove() -> None:
        async with make.opened(stored) as files:
            rows = await files.journal.shred_segments(two.recording_id, "2000-01-01T00:00:00.000Z")
            first = next(row for row in rows if row.number == 0)
            await files.slots.shred([first.header.slot])
            files.vault.unlink_segment(two.recording_id, first.segment_id)
            await files.journal.finish_shred(first.segment_id)

    asyncio.run(remove())
    assert stored.run("verify", "--json").json["findings"] == []  # the other one is still being removed
    path.write_bytes(kept)
    done = stored.run("verify", two.recording_id, "--json", "--repair")
    assert (done.code, codes(done), path.exists()) == (0, ["payload.outlived"], False)
    assert state(stored, "two") == "sealed"


def test_a_compacted_segment_is_found_under_both_of_its_names(stored: make.Edge) -> None:
    """Between the commit that swaps and the one that says it is done, the file has the one name or the other."""
    path, stage = payload(stored, "one"), "5a" * 16
    sql(stored, "UPDATE segment SET staged=? WHERE segment_id=?", stage, path.stem)
    for name in (path.with_name(f"{stage}.payload"), path):
        (path if path.exists() else path.with_name(f"{stage}.payload")).rename(name)
        done = stored.run("verify", stored.facts["one"].recording_id, "--json", "--repair")
        assert (done.code, done.json["findings"]) == (0, []), done.err


def test_the_other_suite_is_held_to_the_same(edge: make.Edge) -> None:
    async def fill() -> None:
        async with make.opened(edge) as files:
            edge.facts["aes"] = await make.record(edge, files, [make.sound(5, 1), make.sound(3, 2)], suite="aes256gcm")

    asyncio.run(fill())
    done = edge.run("verify", "--json", "-i", edge.paths["operator_identity"])
    assert (done.code, done.json["opened"], done.json["findings"]) == (0, 1, []), done.err
    _flip(edge, payload(edge, "aes"))
    assert codes(edge.run("verify", "--json")) == ["payload.changed"]


def test_a_plaintext_that_does_not_open_while_all_else_agrees(stored: make.Edge) -> None:
    """Somebody who has the file key and the journal forged a chunk and signed for it: only the plaintext tells."""
    from edge.recorder.manifests import manifest_maker

    path = payload(stored, "one")
    _flip(stored, path)

    async def forge() -> None:
        import hashlib

        from formats.manifest import TAGS_HASH_START, extend_tags_hash

        data, tags = path.read_bytes(), TAGS_HASH_START
        body = data[16:]
        for at in range(0, len(body), 65552):
            tags = extend_tags_hash(tags, body[at : at + 65552][-16:])
        sql(
            stored, "UPDATE segment SET payload_sha512=?, tags_hash=? WHERE segment_id=?",
            hashlib.sha512(data).digest(), tags, path.stem,
        )  # fmt: skip
        async with make.opened(stored) as files:
            row = await files.journal.recording(stored.facts["one"].recording_id)
            assert row is not None
            signed = manifest_maker("edge-1", stored.key)(row, "complete", 16000, make.END)
        sql(stored, "UPDATE recording SET manifest=? WHERE recording_id=?", signed, row.recording_id)

    asyncio.run(forge())
    assert stored.run("verify").code == 0
    found = stored.run("verify", "--json", "-i", stored.paths["operator_identity"])
    assert (found.code, codes(found)) == (7, ["plaintext.bad"])
    mended = stored.run("verify", "--json", "--repair", "-i", stored.paths["operator_identity"])
    assert (codes(mended), state(stored, "one")) == (["plaintext.bad"], "quarantined")
    recording_id = stored.facts["one"].recording_id
    for more in (
        ("-i", stored.paths["operator_identity"]),
        (),
        (recording_id,),
        (),
    ):  # without keys nothing speaks for it
        still = stored.run("verify", "--json", "--repair", *more)
        assert (still.code, codes(still), state(stored, "one")) == (7, ["plaintext.bad"], "quarantined")


def test_another_identity_is_no_damage(stored: make.Edge, tmp_path: Path) -> None:
    assert make.command("key", "new", "-o", tmp_path / "other").code == 0
    done = stored.run("verify", "--json", "-i", tmp_path / "other")
    assert (done.code, done.json["opened"], len(done.json["unopened"])) == (0, 0, 3)


# -- beside a running daemon


def served(edge: make.Edge, work: Callable[[], Any], during: Callable[[make.Opened], Any] | None = None) -> Any:
    async def go() -> Any:
        async with make.opened(edge) as files:
            runner = await serve(make_app(with_inspector(edge, files)), edge.loaded.edge.socket)
            try:
                if during is not None:
                    await during(files)
                return await asyncio.to_thread(work)
            finally:
                await runner.cleanup()

    return asyncio.run(go())


def with_inspector(edge: make.Edge, files: make.Opened) -> ApiDeps:
    from dataclasses import replace

    from callwarden.keyfiles import read_trust

    clock, section = SystemClock(), edge.loaded.edge
    leftovers = CaptureLeftovers(
        Spool(section.spool, None), ResumeFolder(section.resume, files.journal.instance_id, clock)
    )
    trust = read_trust(section.trust_file)
    means = Means(files.journal, files.vault, files.slots, (leftovers,), clock, trust, running=True)
    return replace(make.deps(edge, files), inspector=Inspector(means))


def test_live_recordings_and_keys_on_their_way_are_no_damage(filled: make.Edge) -> None:
    async def prompt(files: make.Opened) -> None:
        await files.slots.put(b"k" * 32)  # a question is being played: its row comes with the answer

    done = served(filled, lambda: filled.run("verify", "--json", "--repair"), prompt)
    assert (done.code, done.json["findings"], done.json["keys_on_their_way"]) == (0, [], 1), done.err
    assert state(filled, "live") == "recording"


def test_beside_a_daemon_the_same_is_found_and_mended(filled: make.Edge) -> None:
    path = payload(filled, "cut")
    path.write_bytes(path.read_bytes() + b"tail")
    _flip(filled, payload(filled, "two"))
    (filled.loaded.edge.spool / "stray.sln").write_bytes(b"speech")
    done = served(filled, lambda: filled.run("verify", "--json", "--repair"))
    assert (done.code, sorted(codes(done))) == (7, ["payload.changed", "payload.leftover", "spool.leftover"])
    assert (state(filled, "two"), state(filled, "cut")) == ("quarantined", "sealed")


def test_an_interrupted_run_goes_on_where_it_was(stored: make.Edge) -> None:
    _flip(stored, payload(stored, "two"))

    async def go() -> list[Any]:
        async with make.opened(stored) as files:
            inspector = with_inspector(stored, files).inspector
            assert inspector is not None
            begun = await inspector.begin(deep=False, anew=False, uid=0)
            for recording_id in begun["todo"][:2]:
                await inspector.recording(recording_id, run=begun["run"], repair=False, plaintext=None, uid=0)
            return [begun, await inspector.begin(deep=False, anew=False, uid=0)]

    begun, again = asyncio.run(go())
    assert (begun["resumed"], len(begun["todo"]), again["resumed"], again["run"]) == (False, 4, True, begun["run"])
    assert again["todo"] == begun["todo"][2:]
    done = stored.run("verify", "--json")
    assert (done.code, done.json["before"], done.json["recordings"]) == (7, 2, 2)
    assert codes(done) == ["payload.changed"]  # found before the interruption, told at the end
    assert "goes on: 2 of 4" in done.err
    assert stored.run("verify", "--json").json["before"] == 0


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(stored: make.Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    from callwarden.offline import OfflineDoor

    asked = OfflineDoor.verify_recording

    def third(door: OfflineDoor, recording_id: str, **words: Any) -> Any:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(recording_id)
        return asked(door, recording_id, **words)

    seen: list[str] = []
    monkeypatch.setattr(OfflineDoor, "verify_recording", third)
    stopped = stored.run("verify", "--json")
    assert (stopped.code, stopped.out) == (130, "")
    assert "interrupted after 2 of 4 recordings: the same command goes on from there" in stopped.err
    monkeypatch.undo()
    done = stored.run("verify", "--json")
    assert (done.code, done.json["before"], done.json["recordings"]) == (0, 2, 2)


def test_a_disk_that_fails_is_told_and_the_walk_goes_on(stored: make.Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, bad = PayloadVault.open, stored.facts["one"].recording_id

    def failing(vault: PayloadVault, recording_id: str, segment_id: str) -> Any:
        if recording_id == bad:
            raise CallwardenError("vault.io", "the vault's disk failed: Input/output error", retryable=True)
        return opened(vault, recording_id, segment_id)

    monkeypatch.setattr(PayloadVault, "open", failing)
    done = stored.run("verify", "--json", "--repair")
    assert (done.code, codes(done), done.json["recordings"]) == (7, ["payload.unreadable"], 4)
    assert state(stored, "one") == "sealed"  # the disk may be mended: nothing is known against the recording


def test_anew_and_another_depth_begin_again(stored: make.Edge) -> None:
    async def go() -> list[bool]:
        async with make.opened(stored) as files:
            inspector = with_inspector(stored, files).inspector
            assert inspector is not None
            asked = [(False, False), (False, False), (True, False), (True, True)]
            return [(await inspector.begin(deep=deep, anew=anew, uid=0))["resumed"] for deep, anew in asked]

    assert asyncio.run(go()) == [False, True, False, False]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/verify/recordings/zz", 404), ("/v1/verify/recordings/" + "0" * 32, 404),
        ("/v1/verify/rest?run=../x", 400), ("/v1/verify/recordings/" + "0" * 32 + "?plaintext=a%20b", 400),
    ],
)  # fmt: skip
def test_odd_requests(stored: make.Edge, path: str, status: int) -> None:
    from tests.unit.cli.test_door_ranges import ask

    assert served(stored, lambda: ask(stored, path, "POST"))[0] == status
