"""A person's access package: nothing in the clear, everything of theirs in it, and what is not is said."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import re
import sqlite3
import wave
import zipfile
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from callwarden import keyfiles
from callwarden.accesspackage.package import Asked, Made, Package
from callwarden.accesspackage.sources import EdgeSource
from callwarden.door import Reading, open_door
from callwarden.keyfiles import read_signing_key, read_trust
from central import setup
from edge.api.server import make_app, serve
from edge.model.live import NewParty
from formats.age import ScryptIdentity, decrypt_file
from formats.jws import verify_general
from formats.orders import read_order
from tests.unit.central.cases_kit import Office, answer, match, token
from tests.unit.central.central_kit import TestCentral, TestEdge, a_central
from tests.unit.cli import cli_makers as make

CASE = "case-2026-7-ab12"


def opened(file: Path, passphrase: str) -> dict[str, bytes]:
    """What is in a package, by name."""
    plain = b"".join(decrypt_file(file.read_bytes(), [ScryptIdentity(passphrase)]))
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def shown(done: make.Ran) -> str:
    """The passphrase, which is shown once and never on stdout."""
    (found,) = re.findall(r"shown this once: ([a-z2-9-]+)", done.err)
    assert found not in done.out
    return str(found)


def rows(edge: make.Edge, query: str) -> list[Any]:
    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        return conn.execute(query).fetchall()


def sides(data: bytes) -> tuple[bytes, bytes]:
    """The two channels of a WAV file."""
    with wave.open(io.BytesIO(data)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (2, 2, 8000)
        pcm = wav.readframes(wav.getnframes())
    left = b"".join(pcm[at : at + 2] for at in range(0, len(pcm), 4))
    return left, b"".join(pcm[at + 2 : at + 4] for at in range(0, len(pcm), 4))


def split(pcm: bytes) -> tuple[bytes, bytes]:
    return b"".join(pcm[n : n + 2] for n in range(0, len(pcm), 4)), b"".join(
        pcm[n + 2 : n + 4] for n in range(0, len(pcm), 4)
    )


def access(edge: make.Edge, target: Path, *more: str | Path) -> make.Ran:
    return edge.run(
        "access-package", "--case", CASE, "-i", edge.paths["operator_identity"], "-o", target, *more
    )  # fmt: skip


def every_call(edge: make.Edge) -> list[str]:
    """`--call` of each call of the edge."""
    facts = edge.facts
    ids = [facts[n].call.call_id for n in ("two", "cut", "erased", "live")] + [facts["refused"].call_id]
    return [word for one in ids for word in ("--call", one)]


def test_all_of_it_is_there_and_what_is_not_is_said(filled: make.Edge, tmp_path: Path) -> None:
    two, file = filled.facts["two"], tmp_path / "person.zip.age"
    # Somebody listened before.
    listened = filled.run("export", two.recording_id, "-i", filled.paths["operator_identity"], "-o", tmp_path / "x.wav")
    assert listened.code == 0
    done = access(filled, file, *every_call(filled), "--language", "cs", "--controller", "ACME s.r.o., Praha", "--json")
    assert done.code == 0, done.err
    assert file.stat().st_mode & 0o777 == 0o600
    made = opened(file, shown(done))

    # Audio, byte for byte, a file for each segment, named as in the vCon.
    names = [f"audio/{two.recording_id}.{n}.wav" for n in (0, 1)]
    left, right = zip(*(sides(made[name]) for name in names), strict=True)
    assert (b"".join(left), b"".join(right)) == split(two.audio)
    call = two.call.call_id
    signed = json.loads(made[f"vcon/{call}.vcon.json"])
    verified = verify_general(
        signed, read_trust(filled.loaded.edge.trust_file), "callwarden-vcon+json", [Counter({"edge": 1})]
    )
    document = json.loads(verified.payload)
    assert [one["filename"] for one in document["dialog"] if "filename" in one] == [
        n.removeprefix("audio/") for n in names
    ]
    assert make.NUMBER in made[f"consent/{call}.txt"].decode()

    # Tables: the same in CSV and in the workbook.
    calls = list(csv.DictReader(io.StringIO(made["calls.csv"].decode("utf-8-sig"), newline="")))
    by_call = {row["call"]: row for row in calls}
    assert by_call[call]["your_number"] == "'" + make.NUMBER
    assert by_call[call]["audio_files"].split() == names
    assert by_call[filled.facts["refused"].call_id]["outcome"] == "refused"
    assert by_call[filled.facts["erased"].call.call_id]["notes"] == "bylo vymazáno"
    book = openpyxl.load_workbook(io.BytesIO(made["calls.xlsx"]))
    assert book.sheetnames == ["Calls", "Consent", "Listened"]
    sheet = {row[0].value: row for row in book["Calls"].iter_rows(min_row=2)}
    assert (sheet[call][6].value, sheet[call][6].data_type) == (make.NUMBER, "s")
    heard = list(csv.DictReader(io.StringIO(made["listened.csv"].decode("utf-8-sig"), newline="")))
    assert ("copy made", "reader 1") in {(row["what"], row["reader"]) for row in heard}
    consent = list(csv.DictReader(io.StringIO(made["consent.csv"].decode("utf-8-sig"), newline="")))
    assert {"given", "refused", "requested"} <= {row["event"] for row in consent}

    # What is not in it: in the answer, on the cover, in the person's language.
    missing = {one["what"]: one["why"] for one in done.json["missing"]}
    assert missing == {
        filled.facts["erased"].recording_id: "not_found.erased", filled.facts["live"].recording_id: "command.live",
    }  # fmt: skip
    cover = made["cover.html"].decode()
    live = filled.facts["live"].recording_id
    for words in (
        "Vaše nahrané hovory",
        "ACME s.r.o., Praha",
        CASE,
        "bylo vymazáno",
        "ještě se nahrává",
        live,
    ):
        assert words in cover
    assert done.json["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert sorted(made) == sorted(done.json["entries"])

    # The copy is on file, with the case it went out for, and in the edge's log.
    exported = rows(filled, "SELECT recording_id, form FROM exported WHERE form LIKE 'package%' ORDER BY seq")
    assert exported == [(r.recording_id, f"package/{CASE}") for r in (two, filled.facts["cut"])]
    entries = [json.loads(one) for (one,) in rows(filled, "SELECT entry FROM audit ORDER BY idx")]
    assert [e["kind"] for e in entries if e["body"].get("case") == CASE].count("evidence.exported") == 5
    assert [e["kind"] for e in entries if e["body"].get("case") == CASE].count("recording.exported") == 2


def test_the_other_voice_and_number_stay_out_where_they_are_masked(filled: make.Edge, tmp_path: Path) -> None:
    two, file, words = filled.facts["two"], tmp_path / "p.age", tmp_path / "passphrase"
    done = access(
        filled, file, "--call", two.call.call_id, "--mask-agent", "--passphrase-to", words, "--language", "de"
    )
    assert done.code == 0, done.err
    assert "shown this once" not in done.err
    assert words.stat().st_mode & 0o777 == 0o600
    made = opened(file, words.read_text().strip())
    left, right = zip(*(sides(made[f"audio/{two.recording_id}.{n}.wav"]) for n in (0, 1)), strict=True)
    assert b"".join(left) == split(two.audio)[0]
    assert set(b"".join(right)) == {0}
    assert "signatures" in json.loads(made[f"vcon/{two.call.call_id}.vcon.json"])  # nothing had to be taken out of it
    assert "Die rechte Seite ist still" in made["cover.html"].decode()


COLLEAGUE = "+420666555444"


async def conference(edge: make.Edge) -> make.Recorded:
    """The call `two` as a third party joined it, was asked and refused its pause by an agent; it was read for another case."""
    two: make.Recorded = edge.facts["two"]
    third = NewParty(
        "cd" * 16, two.call.call_id, "third", "7.7", "PJSIP/x-7", COLLEAGUE, "plain", "none", make.AT, COLLEAGUE
    )
    answer = replace(make.event("given", two.call, 900), party_id=third.party_id)
    answer = replace(answer, evidence={**answer.evidence, "key": "7", "reason": "colleague's own"})
    async with make.opened(edge) as files:
        await files.journal.add_party(third)
        await files.journal.add_event(two.call.call_id, answer)
    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        conn.execute(
            "INSERT INTO pause(pause_id, call_id, reason, actor_kind, actor_name, began_at, ended_at, ended_kind, ended_name)"
            " VALUES(?, ?, 'asked', 'agent', 'Agneta', ?, ?, 'supervisor', 'Sverre')",
            ("ef" * 16, two.call.call_id, make.AT, make.END),
        )
    other = ("--case", "case-2025-3-beef", "-i", edge.paths["operator_identity"], "-o", edge.folder / "other.age")
    done = await edge.arun("access-package", *other, "--call", two.call.call_id)
    assert done.code == 0, done.err
    return two


def of_number(edge: make.Edge, target: Path, number: str, **how: bool) -> tuple[Made, dict[str, bytes]]:
    """A package of the call `two` for whoever has a number, as a case makes it."""
    asked = Asked(CASE, [("edge-1", edge.facts["two"].call.call_id)], [number], make.AT, make.END, **how)
    identities = keyfiles.read_identities(edge.paths["operator_identity"])
    with open_door(edge.config) as door:
        trust = read_trust(edge.loaded.edge.trust_file)
        source = EdgeSource(door, trust, identities, Reading(case=CASE, form="package"))
        made = Package(door, [source], asked).write(target, "a passphrase", lambda made: None, work_factor=8)
    return made, opened(target, "a passphrase")


async def test_a_mask_leaves_no_voice_to_somebody_who_is_not_on_the_channel_it_leaves(
    filled: make.Edge, tmp_path: Path
) -> None:
    two = await conference(filled)
    masked, made = await asyncio.to_thread(of_number, filled, tmp_path / "m.age", COLLEAGUE, mask=True)
    assert [name for name in made if name.startswith("audio/")] == []
    assert {one.what: one.code for one in masked.missing} == {two.recording_id: "command.mask_party"}
    assert "not on a track of your own" in made["cover.html"].decode()
    (line,) = csv.DictReader(io.StringIO(made["calls.csv"].decode("utf-8-sig"), newline=""))
    assert "not on a track of your own" in line["notes"]
    assert rows(filled, "SELECT count(*) FROM exported WHERE form='package/" + CASE + "'") == [(0,)]
    # Whom the call is about has a channel, and it is the one that is left.
    _, own = await asyncio.to_thread(of_number, filled, tmp_path / "o.age", make.NUMBER, mask=True)
    left, right = zip(*(sides(own[f"audio/{two.recording_id}.{n}.wav"]) for n in (0, 1)), strict=True)
    assert (b"".join(left), set(b"".join(right))) == (split(two.audio)[0], {0})


@pytest.mark.parametrize("mask", [False, True])
async def test_nothing_of_others_is_in_the_vcon_and_no_other_case_in_the_tables(
    filled: make.Edge, tmp_path: Path, mask: bool
) -> None:
    two = await conference(filled)
    call = two.call.call_id
    for number, theirs in ((make.NUMBER, COLLEAGUE), (COLLEAGUE, make.NUMBER)):
        _, made = await asyncio.to_thread(of_number, filled, tmp_path / f"{theirs}.age", number, mask=mask)
        text = made[f"vcon/{call}.vcon.json"].decode()
        document = json.loads(text)
        assert "signatures" not in document  # something was taken out, so the edge's signature cannot stand
        assert [one.get("tel") == f"tel:{number}" for one in document["parties"]] == [
            number == make.NUMBER,
            number == COLLEAGUE,
        ]
        for secret in (theirs, "Agneta", "Sverre"):
            assert secret not in text
        assert ("colleague's own" in text) == (number == COLLEAGUE)
        buttons = [e["button"] for e in document["dialog"][0]["party_history"] if e["event"] == "keydown"]
        assert buttons == (["1"] if number == make.NUMBER else ["7"])
        bases = [one["party"] for one in document["attachments"] if one["purpose"] == "lawful_basis"]
        assert bases == [0 if number == make.NUMBER else 1]
        (pauses,) = (one["body"] for one in document["attachments"] if one["purpose"] == "callwarden_pauses")
        assert [(one["by"], one["ended_by"]) for one in pauses] == [({"kind": "agent"}, {"kind": "supervisor"})]
        assert "copy made" in made["listened.csv"].decode()
        assert "case-2025-3-beef" not in made["listened.csv"].decode()
    _, made = await asyncio.to_thread(of_number, filled, tmp_path / "named.age", make.NUMBER, named=True, mask=mask)
    assert "Agneta" in made[f"vcon/{call}.vcon.json"].decode()


def test_nothing_is_left_of_one_that_failed_and_nothing_in_the_clear(filled: make.Edge, tmp_path: Path) -> None:
    two, file = filled.facts["two"], tmp_path / "p.age"
    done = access(filled, file, "--call", two.call.call_id, "--passphrase-to", tmp_path / "words")
    assert done.code == 0
    data = file.read_bytes()
    pyrage = pytest.importorskip("pyrage", reason="pyrage, an oracle, is not installed")
    assert pyrage.passphrase.decrypt(data, (tmp_path / "words").read_text().strip()).startswith(b"PK")
    assert data.startswith(b"age-encryption.org/v1\n-> scrypt ")
    for secret in (b"PK\x03\x04", b"cover.html", two.recording_id.encode(), two.audio[:64], two.audio[-64:]):
        assert secret not in data
    again = access(filled, file, "--call", two.call.call_id, "--passphrase-to", tmp_path / "other")
    assert again.code != 0
    assert "environment.exists" in again.err
    assert file.read_bytes() == data
    # A payload that is not what was signed is left out, and said.
    found = (p for p in filled.loaded.edge.vault.rglob("*") if p.is_file() and two.recording_id in str(p))
    payload = next(p for p in found if p.stat().st_size > 90_000)
    broken = bytearray(payload.read_bytes())
    broken[50_000] ^= 1
    payload.write_bytes(broken)
    done = access(filled, tmp_path / "q.age", "--call", two.call.call_id, "--json")
    assert done.code == 0, done.err
    assert len(done.json["missing"]) == 1
    assert done.json["missing"][0]["why"].startswith("vault.")
    made = opened(tmp_path / "q.age", shown(done))
    assert len([name for name in made if name.startswith("audio/")]) == 1
    other = access(filled, tmp_path / "r.age", "--call", "ab" * 16, "--call", two.call.call_id, "--json")
    assert {"what": "ab" * 16, "why": "not_found.call", "where": ""} in other.json["missing"]
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["p.age", "q.age", "r.age", "words"]


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    async with a_central(tmp_path / "store") as running:
        yield running


async def answering(central: TestCentral, edge: TestEdge, calls: list[str]) -> None:
    """The edges' part: a receipt for each order as it comes."""
    seen: set[str] = set()
    while True:
        for jti, cmd, jws in await central.rows("SELECT jti, cmd, jws FROM orders"):
            if jti not in seen:
                seen.add(jti)
                order = {"jti": jti, "order": json.loads(jws)}
                facts = {"located": jti, "matches": [match(one) for one in calls], "more": 0}
                evidence = facts if cmd == "locate" else {"calls": len(calls), "recordings": len(calls)}
                await answer(edge, order, "done", evidence)
        await asyncio.sleep(0.05)


class Desk:
    """Commands of a DPO."""

    def __init__(self, central: TestCentral, who: str, edge: make.Edge) -> None:
        self._edge = edge
        self._env = {"CENTRAL_URL": central.url, "CENTRAL_TOKEN": who}

    async def run(self, *args: str | Path) -> make.Ran:
        return await self._edge.arun("central", "case", *args, **self._env)

    async def good(self, *args: str | Path) -> make.Ran:
        done = await self.run(*args)
        assert done.code == 0, done.err
        return done


async def test_a_case_by_commands_from_intake_to_the_package(
    central: TestCentral, filled: make.Edge, tmp_path: Path
) -> None:
    facts = filled.facts
    mine, other = facts["two"], facts["cut"]
    edge = TestEdge(central, edge_id="edge-1", key=filled.key)
    ids = [one.call.call_id for one in (mine, other)]
    await edge.send(*(edge.event(n, "call.opened", one, {"call_id": one}) for n, one in enumerate(ids, 1)))
    desk = Desk(central, await token(central, "dpo"), filled)
    work = asyncio.create_task(answering(central, edge, [mine.call.call_id, other.call.call_id]))
    async with make.opened(filled) as files:
        runner = await serve(make_app(make.deps(filled, files)), filled.loaded.edge.socket)
        try:
            ref = (await desk.good("new", "--kind", "access", "--number", "777 123 456", "--country", "CZ")).out.strip()
            package = ["package", ref, "--to", "handed over", "-i", filled.paths["operator_identity"]]
            early = await desk.run(*package, "-o", tmp_path / "early.age")
            assert "[case.state]" in early.err or "case.state" in early.err
            assert (await desk.run("search", ref)).code != 0
            await desk.good("identify", ref, "--method", "document", "--note", "passport, seen by Dana")
            found = await desk.good("search", ref)
            assert mine.call.call_id in found.out
            assert not re.search(r"777\s?123\s?456", found.out)
            assert (await desk.run("review", ref, "--include", "ff" * 16, "--reason", "x")).code != 0
            done = await desk.good(
                "review",
                ref,
                "--exclude",
                other.call.call_id,
                "--include-rest",
                "--reason",
                "the other is a colleague",
                "--done",
            )
            assert done.out.split() == ["1", "in,", "1", "out", "reviewed"]
            made = await desk.good(*package, "-o", tmp_path / "p.age")
            entries = opened(tmp_path / "p.age", shown(made))
            assert [n for n in entries if n.startswith("audio/")] == [
                f"audio/{mine.recording_id}.{n}.wav" for n in (0, 1)
            ]
            assert other.call.call_id not in entries["calls.csv"].decode()
            await desk.good("execute", ref)
            await desk.good("step", ref, "answer", "--note", "handed over on paper and stick")
            case = (await desk.good("show", ref, "--json")).json
            assert case["packages"][0]["sha256"] == hashlib.sha256((tmp_path / "p.age").read_bytes()).hexdigest()
            assert case["packages"][0]["recordings"] == [mine.recording_id]
            assert len(case["matches"]) == 2
            none = await desk.good("show", ref, "--policy", "another", "--json")
            assert (none.json["matches"], "2 further calls were found" in none.err) == ([], True)
            both = await desk.good(
                "show", ref, "--policy", case["matches"][0]["queue"], "--direction", "inbound", "--json"
            )
            assert both.json == case
            text = await desk.good("show", ref)
            assert "the other is a colleague" in text.out
            assert ref in (await desk.good("list", "--open")).out
            assert "handed over on paper" in text.out
            # Central that does not take note: no file.
            refused = await desk.run(*package, "-o", tmp_path / "late.age")
            assert refused.code != 0
            assert not (tmp_path / "late.age").exists()
        finally:
            await runner.cleanup()
            work.cancel()
    exported = rows(filled, "SELECT form FROM exported")
    assert exported == [(f"package/{ref}",)]


async def test_an_erasure_by_commands_leaves_out_what_the_review_left_out(
    central: TestCentral, filled: make.Edge
) -> None:
    calls = [filled.facts[n].call.call_id for n in ("two", "cut")]
    edge = TestEdge(central, edge_id="edge-1", key=filled.key)
    await edge.send(*(edge.event(n, "call.opened", one, {"call_id": one}) for n, one in enumerate(calls, 1)))
    who = await token(central, "dpo")
    desk, office = Desk(central, who, filled), Office(central, who)
    key = filled.paths["dpo_key"]
    setup.register_key(central.config, "dpo", "Dana the second", read_signing_key(key).verify_key)
    work = asyncio.create_task(answering(central, edge, calls))
    try:
        for kind, more in (("erasure", []), ("objection", ["--erase"]), ("restriction", [])):
            new = await desk.good("new", "--kind", kind, "--number", "+420777123456", "--json")
            ref = office.ref = new.json["ref"]
            await desk.good("identify", ref, "--method", "callback", "--note", "called back")
            await desk.good("search", ref)
            await desk.good("review", ref, "--exclude", calls[1], "--include-rest", "--reason", "not hers", "--done")
            if kind != "restriction":
                unsigned = await desk.run("execute", ref, *more, "--yes")
                assert "usage.key" in unsigned.err
                more = [*more, "--dpo-key", str(key)]
            assert "usage.review" in (await desk.run("execute", ref, *more)).err
            await desk.good("execute", ref, *more, "--yes")
            case = await office.show()
            assert case["state"] == "executed"
            orders = [(o["cmd"], o["target"]) for o in case["orders"]]
            restricted = [("restrict", f"call {calls[0]}")]
            assert orders == [("locate", "person")] + {
                "erasure": [("erase", "person")], "objection": [*restricted, ("erase", "person")], "restriction": restricted,
            }[kind]  # fmt: skip
            for (jws,) in await central.rows("SELECT jws FROM orders WHERE cmd='erase'"):
                claims = read_order(jws)
                assert claims.exclude == (calls[1],)
                assert claims.located is not None
    finally:
        work.cancel()
