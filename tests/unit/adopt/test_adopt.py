"""`callwarden adopt` as a person runs it, over a tree like FreePBX's, against the daemon's own parts: real journal, slots,
vault, socket, and a caged child that reads the files."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge.audit.log import AuditLog
from edge.clock import SystemClock
from edge.config import load
from edge.consent.adoption import party
from edge.retention.copies import copies_elsewhere
from edge.store.journal import Journal
from formats.pcm import expand
from tests.unit.adopt import adopt_kit as kit
from tests.unit.adopt.adopt_kit import Site, freepbx_name, own, put, samples, wav, yesterday

NUMBER = "777123456"


def journal(site: Site, query: str) -> list[tuple[Any, ...]]:
    conn = sqlite3.connect(load(site.config).edge.journal)
    try:
        return conn.execute(query).fetchall()
    finally:
        conn.close()


def test_one_file_and_what_is_stored_of_it(site: Site, tmp_path: Path) -> None:
    sound, at = samples(3, 1), yesterday()
    name = freepbx_name("in", "600", NUMBER, at, 7)
    put(site.folder, f"2024/01/05/{name}", wav(sound))
    with site.daemon():
        looked = site.adopt("--json")
        assert (looked.code, looked.json["would_adopt"], looked.json["cage"]) == (0, 1, "seccomp"), looked.err
        assert (site.recordings(), len(site.files())) == ([], 1)
        done = site.adopt("--apply", "--json")
        assert (done.code, done.json["adopted"], done.json["removed"]) == (0, 1, 1), done.err
        assert site.files() == []
        (row,) = site.recordings()
        assert (row["state"], row["seconds"]) == ("sealed", 3)
        assert site.sound_of(row["recording_id"], tmp_path / "out.wav") == sound
        why = site.command("why", row["call_id"], "--json").json
        text = site.command("why", row["call_id"]).out
        assert site.command("audit", "verify").code == 0
        record = site.command("evidence", row["call_id"], "--form", "record", "--json")
        assert record.code == 0, record.err
    assert why["call"]["outcome"] == "adopted"
    assert why["call"]["started_at"].startswith(f"{at:%Y-%m-%dT%H:%M:%S}")
    # Kept from the day of the call on, not from today.
    assert why["call"]["ended_at"].startswith(f"{at + timedelta(seconds=3):%Y-%m-%dT%H:%M:%S}")
    assert journal(site, "SELECT started_at, ended_at FROM recording") == [
        (why["call"]["started_at"], why["call"]["ended_at"])
    ]
    assert why["recordings"][0]["original"]["removed_at"]
    (event,) = why["events"]
    assert event["kind"] == "adopted"
    said = event["evidence"]
    assert (said["basis"], said["basis_reference"]) == ("legitimate_interests", "assessment of 2024-01-05")
    assert said["adopted"]["documented"] == "announcement 12, in use since 2023"
    assert said["adopted"]["plaintext_outside"] is True
    assert said["adopted"]["by"] == f"uid:{kit.OWNER}"
    assert "taken over from an older archive" in text
    assert "plaintext" in text or "in the clear" in text
    assert "announcement 12" in text
    told = [row[0] for row in journal(site, "SELECT type FROM outbox ORDER BY seq")]
    assert told == [
        "call.opened", "call.closed", "consent.recorded", "recording.opened", "segment.closed", "recording.sealed",
    ]  # fmt: skip
    # The name holds a number: it is nowhere but in the party's row.
    assert NUMBER not in str(journal(site, "SELECT body FROM outbox")) + str(journal(site, "SELECT entry FROM audit"))
    assert journal(site, "SELECT name, place FROM adoption") == [(None, None)]
    assert journal(site, "SELECT number_heard, number_class FROM party") == [(NUMBER, "plain")]


def archive(site: Site) -> tuple[dict[str, bytes], dict[str, str], Path]:
    """About fifty files as a PBX leaves them: (sound by name of what is to be taken over, code by path of what is left,
    the export of its call records)."""
    good: dict[str, bytes] = {}
    bad: dict[str, str] = {}
    lines = ["calldate,clid,src,dst,dcontext,duration,billsec,disposition,uniqueid,did,recordingfile,linkedid"]
    for number in range(36):
        at = yesterday(number * 3)
        kind = ("in", "out", "q", "rg", "exten", "internal")[number % 6]
        name = freepbx_name(kind, "600" if kind != "out" else f"7771234{number:02}", f"7771234{number:02}", at, number)
        shapes: list[dict[str, Any]] = [
            {}, {"said": 0, "riff": 0}, {"said": 999_999, "riff": 5}, {"after": b"LIST\x06\0\0\0INFOab"},
            {"extensible": True}, {"channels": 2}, {"rate": 16000}, {"tag": 7, "bits": 8}, {"tag": 6, "bits": 8},
        ]  # fmt: skip
        shape = shapes[number % 9]
        sound = samples(1 + number % 3, number, channels=shape.get("channels", 1), width=shape.get("bits", 16) // 8)
        put(site.folder, f"{at:%Y/%m/%d}/{name}", wav(sound, **shape))
        good[name] = sound
        if number % 2:
            here = at.astimezone(ZoneInfo("Europe/Prague"))
            lines.append(
                f'{here:%Y-%m-%d %H:%M:%S},"""x"" <1>",7771234{number:02},600,from-trunk,70,60,ANSWERED,'
                f"{int(at.timestamp())}.{number},,{name},{int(at.timestamp())}.{number}"
            )
    for path, data, code in (
        ("bad/empty.wav", b"", "adopt.not_wav"), ("bad/silent.wav", wav(b""), "adopt.empty"),
        ("bad/cut.wav", wav(samples(1, 90))[:30], "adopt.damaged"), ("bad/text.wav", b"hello\n" * 50, "adopt.not_wav"),
        ("bad/gsm.WAV", wav(samples(1, 91), tag=0x31), "adopt.format"), ("bad/old.mp3", b"ID3", "adopt.format"),
        ("bad/wide.wav", wav(samples(1, 92), channels=2, tag=3, bits=32), "adopt.format"),
        ("bad/tail.wav", wav(samples(1, 93), after=b"\1\2 who knows"), "adopt.tail"),
    ):  # fmt: skip
        put(site.folder, path, data)
        bad[path] = code
    put(site.folder, "bad/long-ago.wav", wav(samples(1, 94)), age=400 * 86400)
    bad["bad/long-ago.wav"] = "adopt.past_retention"
    put(site.folder, "bad/tomorrow.wav", wav(samples(1, 95)), age=-86400)
    os.utime(site.folder / "bad/tomorrow.wav", (4e9, 4e9))
    target = site.folder.parent / "outside.wav"
    target.write_bytes(wav(samples(1, 96)))
    (site.folder / "bad/link.wav").symlink_to(target)
    os.link(target, site.folder / "bad/hard.wav")
    os.mkfifo(site.folder / "bad/pipe.wav")
    with (site.folder / "bad/huge.wav").open("wb") as huge:
        huge.truncate(1 << 40)
    os.utime(site.folder / "bad/huge.wav", (1e9, 1e9))
    bad |= dict.fromkeys(("bad/link.wav", "bad/hard.wav", "bad/pipe.wav", "bad/huge.wav"), "adopt.file")
    (site.folder / "notes.txt").write_text("not a recording")
    own(site.folder)
    cdr = site.folder.parent / "cdr.csv"
    cdr.write_text("\n".join(lines))
    return good, bad, cdr


@pytest.mark.timeout(180)
def test_an_archive_with_everything_in_it(site: Site, tmp_path: Path) -> None:
    good, bad, cdr = archive(site)
    with site.daemon():
        looked = site.adopt("--cdr", cdr, "--json")
        assert looked.code == 75, looked.err
        assert looked.json["would_adopt"] == len(good) + 1  # the one with a tail too
        done = site.adopt("--cdr", cdr, "--apply", "--json")
        assert done.code == 75, done.err
        report = done.json
        assert {one["path"]: one["code"] for one in report["left"]} == bad
        assert all(one["hint"] for one in report["left"])
        assert (report["adopted"], report["removed"], report["waiting"]) == (len(good), len(good), 1)
        assert report["known_calls"] == 18
        assert report["repaired"] >= 8
        assert set(site.files()) == {*bad, "bad/tomorrow.wav", "notes.txt"}
        assert site.folder.parent.joinpath("outside.wav").read_bytes() == wav(samples(1, 96))
        rows = site.recordings()
        assert {row["state"] for row in rows} == {"sealed"}
        assert len(rows) == len(good) + 1
        facts = dict(journal(site, "SELECT c.channel_uid, r.recording_id FROM call c JOIN recording r USING(call_id)"))
        for name, sound in list(good.items())[:9]:
            taken = site.sound_of(facts[name.removesuffix(".wav").rpartition("-")[2]], tmp_path / "out.wav")
            codec = {7: "ulaw", 8: "alaw"}.get(list(good).index(name))
            assert taken == (expand(codec, sound) if codec else sound)
        codecs = sorted({row[0] for row in journal(site, "SELECT codec FROM capture")})
        assert codecs == ["alaw", "sln", "sln16", "ulaw"]
        again = site.adopt("--cdr", cdr, "--apply", "--json").json
        assert (again["adopted"], {one["path"]: one["code"] for one in again["left"]}) == (0, bad)
        assert len(site.recordings()) == len(rows)
        assert site.command("audit", "verify").code == 0
    directions = dict(journal(site, "SELECT direction, count(*) FROM call GROUP BY 1"))
    assert directions["outbound"] == 6


def test_a_call_that_callwarden_answered_for_is_not_taken_over(site: Site) -> None:
    """Whoever said no is not recorded because another recorder ran beside."""
    at = yesterday()
    name = freepbx_name("in", "600", NUMBER, at, 7)
    put(site.folder, name, wav(samples(1, 1)))
    uid = f"{int(at.timestamp())}.7"
    with site.daemon():
        pass  # the journal is made
    conn = sqlite3.connect(load(site.config).edge.journal)
    with conn:
        conn.execute("INSERT INTO policy VALUES('support', 'v', '{}', '2026-01-01T00:00:00.000Z')")
        conn.execute(
            "INSERT INTO call(call_id, linked_id, channel_uid, channel_name, party_id, direction, policy_id,"
            " policy_version, mode, purposes, state, outcome, started_at, ended_at) VALUES(?, ?, ?, '', ?, 'inbound',"
            " 'support', 'v', 'opt_in', '[]', 'ended', 'refused', ?, ?)",
            ("a" * 32, uid, uid, "b" * 32, "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z"),
        )
    conn.close()
    with site.daemon():
        done = site.adopt("--apply", "--json")
    assert [one["code"] for one in done.json["left"]] == ["adopt.handled"]
    assert "refused" in done.json["left"][0]["message"]
    assert site.files() == [name]


def test_what_was_erased_is_not_taken_over_again_from_a_copy(site: Site) -> None:
    name = freepbx_name("in", "600", NUMBER, yesterday(), 7)
    put(site.folder, name, wav(samples(1, 1)))
    with site.daemon():
        assert site.adopt("--apply", "--keep", "--keep-names", "--json").json["kept"] == 1
        again = site.adopt("--apply", "--keep", "--json").json
        assert (again["already"], again["adopted"]) == (1, 0)
    assert journal(site, "SELECT name, kept FROM adoption") == [(name, 1)]
    conn = sqlite3.connect(load(site.config).edge.journal)
    with conn:
        conn.execute("UPDATE recording SET state='erased'")
    conn.close()
    assert journal(site, "SELECT name, content, place FROM adoption") == [(None, None, None)]
    with site.daemon():
        done = site.adopt("--apply", "--json")
    assert [one["code"] for one in done.json["left"]] == ["adopt.erased"]
    assert site.files() == [name]


@pytest.mark.parametrize("kept", [False, True])
async def test_the_certificate_says_that_it_lay_outside(site: Site, kept: bool) -> None:
    put(site.folder, freepbx_name("in", "600", NUMBER, yesterday(), 7), wav(samples(1, 1)))
    with site.daemon():
        assert site.adopt("--apply", *(["--keep"] if kept else [])).code == 0
    edge = load(site.config).edge
    opened = Journal.open(edge.journal, audit=AuditLog(), clock=SystemClock(), edge_id=edge.id)
    try:
        (recording,) = await opened.recordings()
        (copy,) = await copies_elsewhere(opened, recording)
    finally:
        await opened.close()
    assert (copy["place"], copy["state"]) == ("original", "unknown")
    assert "in the clear" in copy["detail"]
    assert ("was to be kept" if kept else "was removed") in copy["detail"]
    assert (copy["at"] is None) is kept


def test_aes_and_a_recording_of_several_segments(site: Site, tmp_path: Path) -> None:
    """Sixteen minutes: more than a segment holds; the sound ends at a chunk's end."""
    conf = site.config.parent / "conf.d" / "support.toml"
    conf.write_text(conf.read_text().replace('suite = "age1"', 'suite = "aes256gcm"'))
    sound = samples(16384 * 940 / 16000, 5)
    assert len(sound) == 16384 * 940
    put(site.folder, freepbx_name("in", "600", NUMBER, yesterday(), 7), wav(sound))
    with site.daemon():
        assert site.adopt("--apply", "--json").json["adopted"] == 1
        (row,) = site.recordings()
        assert (row["suite"], len(row["segments"])) == ("aes256gcm", 2)
        # A waveform each, made while the key was in hand.
        assert len([p for p in load(site.config).edge.vault.rglob("*") if p.suffix == ".waveform"]) == 2
        assert site.sound_of(row["recording_id"], tmp_path / "out.wav") == sound


def test_a_file_that_changes_between_the_looks_is_given_up_and_begun_anew(site: Site, tmp_path: Path) -> None:
    path = put(site.folder, freepbx_name("in", "600", NUMBER, yesterday(), 7), wav(samples(150, 1)))
    with site.daemon("adopt.progress:2") as child:
        assert site.adopt("--apply").code == 4
        child.wait(10)
    # The same name, length and claimed content cannot be had; another content is another file, begun anew.
    put(site.folder, path.name, wav(samples(150, 2)))
    with site.daemon():
        done = site.adopt("--apply", "--json")
        assert done.json["adopted"] == 1, done.err
        sealed = site.recordings("sealed")
        assert [site.sound_of(one["recording_id"], tmp_path / "out.wav") for one in sealed] == [samples(150, 2)]


def test_a_month_without_a_key_is_left(site: Site) -> None:
    """Where each month has keys of its own, no other month's are taken in their place."""
    conf = site.config.parent / "conf.d" / "support.toml"
    text = conf.read_text()
    keys = " ".join(re.findall(r'"(age1[a-z0-9]+)"', text))
    now, old = datetime.now(UTC), datetime.now(UTC) - timedelta(days=75)
    start = text.index("recipients = [")
    end = text.index("]", start) + 1
    monthly = f'epochs = "monthly"\nepoch_keys = {{ "{now:%Y-%m}" = "{keys}" }}\nrecipients = []\n'
    conf.write_text(text[:start] + monthly + text[end:])
    put(site.folder, freepbx_name("in", "600", NUMBER, old, 7), wav(samples(1, 1)))
    put(site.folder, freepbx_name("in", "600", NUMBER, now - timedelta(minutes=1), 8), wav(samples(1, 2)))
    with site.daemon():
        done = site.adopt("--apply", "--json")
        assert (done.code, done.json["adopted"]) == (75, 1), done.err
    assert [one["code"] for one in done.json["left"]] == ["adopt.no_key"]
    assert f"{old:%Y-%m}" in done.json["left"][0]["hint"]


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        (("--timezone", "Mars/Olympus"), 2, "time zone"),
        (("--policy", "nobody"), 6, "no such policy"),
        (("--policy", "private"), 6, "no recipients"),
        (("--reference", " "), 2, "why they may be kept"),
        (("--evidence", "x" * 401), 2, "why they may be kept"),
        (("--basis", "given"), 2, "basis"),
    ],
)
def test_arguments_are_demanded(site: Site, change: tuple[str, str], code: int, word: str) -> None:
    put(site.folder, "a.wav", wav(samples(1, 1)))
    with site.daemon():
        done = site.adopt("--apply", *change)
    assert (done.code, word in done.err) == (code, True), done.err
    assert site.files() == ["a.wav"]


def test_without_a_daemon_nothing_happens(site: Site) -> None:
    put(site.folder, "a.wav", wav(samples(1, 1)))
    done = site.adopt("--apply")
    assert done.code in (4, 8), done.err
    assert site.files() == ["a.wav"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_never_as_root(site: Site) -> None:
    os.chown(site.folder, 0, 0)
    with site.daemon():
        done = site.adopt("--apply")
    assert (done.code, "not read as root" in done.err) == (8, True), done.err


def test_a_file_that_is_still_written_to_waits(site: Site) -> None:
    path = put(site.folder, "a.wav", wav(samples(1, 1)), age=0)
    with site.daemon():
        assert site.adopt("--apply", "--json").json["waiting"] == 1
        os.utime(path, (datetime.now().timestamp() - 3600,) * 2)  # noqa: DTZ005
        with path.open("ab"):
            assert site.adopt("--apply", "--json").json["waiting"] == 1
        assert site.adopt("--apply", "--json").json["adopted"] == 1


def test_a_sealed_copy_that_was_damaged_meanwhile_keeps_the_file(site: Site) -> None:
    """The file goes for a recording that is there, not for a row that says so."""
    put(site.folder, freepbx_name("in", "600", NUMBER, yesterday(), 7), wav(samples(2, 1)))
    with site.daemon():
        assert site.adopt("--apply", failpoint="adopt.answered").code < 0
        (payload,) = load(site.config).edge.vault.rglob("*.payload")
        data = bytearray(payload.read_bytes())
        data[100] ^= 1
        payload.write_bytes(data)
        done = site.adopt("--apply")
        assert (done.code, "not what was sealed" in done.err) == (7, True), done.err
        assert len(site.files()) == 1
        data[100] ^= 1
        payload.write_bytes(data)
        assert site.adopt("--apply", "--json").json["already"] == 1
    assert site.files() == []


@pytest.mark.parametrize(
    ("number", "stored", "kind"),
    [
        ("777123456", "777123456", "plain"), ("+420 777 123 456", "+420 777 123 456", "invalid"),
        ("anonymous", None, "withheld"), ("", None, "withheld"), ("\x1b[31mEva\u202e", "[31mEva", "invalid"),
        ("\u202e", None, "invalid"), ("7" * 80, "7" * 64, "plain"),
    ],
)  # fmt: skip
def test_numbers_are_stored_as_text_that_harms_nobody(number: str, stored: str | None, kind: str) -> None:
    heard, number_class, _ = party(number, "CZ")
    assert (heard, number_class) == (stored, kind)


def test_files_of_one_call_are_one_call(site: Site) -> None:
    at = yesterday()
    names = [freepbx_name(kind, "600", NUMBER, at + timedelta(seconds=n), 7 + n) for n, kind in enumerate(("in", "q"))]
    linked = f"{int(at.timestamp())}.7"
    here = at.astimezone(ZoneInfo("Europe/Prague"))
    lines = ["calldate,src,dst,uniqueid,recordingfile,linkedid"]
    for n, name in enumerate(names):
        put(site.folder, name, wav(samples(1, n)))
        lines.append(f"{here:%Y-%m-%d %H:%M:%S},{NUMBER},600,{int(at.timestamp()) + n}.{7 + n},{name},{linked}")
    cdr = site.folder.parent / "cdr.csv"
    cdr.write_text("\n".join(lines))
    with site.daemon():
        assert site.adopt("--apply", "--cdr", cdr, "--json").json["adopted"] == 2
    assert journal(site, "SELECT linked_id, count(*) FROM call JOIN recording USING(call_id) GROUP BY 1") == [
        (linked, 2)
    ]


def test_what_is_taken_over_is_sealed_to_the_keys_of_its_month(site: Site) -> None:
    months = {f"{at:%Y-%m}" for at in (datetime.now(UTC), yesterday())}  # the call's, and the present one's
    file = site.config.parent / "conf.d" / "support.toml"
    text = file.read_text()
    both = text.partition("recipients = [")[2].partition("]")[0]
    keys = " ".join(line.split('"')[1] for line in both.splitlines() if '"' in line)
    by_month = ", ".join(f'"{month}" = "{keys}"' for month in sorted(months))
    added = f'[policy.support]\nepochs = "monthly"\nepoch_keys = {{ {by_month} }}'
    file.write_text(text.replace(both, "").replace("[policy.support]", added))
    put(site.folder, "a/" + freepbx_name("in", "600", NUMBER, yesterday(), 7), wav(samples(1, 1)))
    with site.daemon():
        done = site.adopt("--apply", "--json")
        assert (done.code, done.json["adopted"]) == (0, 1), done.err
    ((stored,),) = journal(site, "SELECT recipients FROM header")
    assert json.loads(stored) == keys.split()
