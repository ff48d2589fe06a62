"""The standing service: a folder that is emptied as long as the daemon runs."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.config import load
from edge.errors import CallwardenError
from tests.unit.adopt.adopt_kit import Site, freepbx_name, own, put, samples, wav, yesterday

SERVICE = """
[adopt.pbx]
folder = "{folder}"
policy = "support"
basis = "legitimate_interests"
reference = "assessment of 2024-01-05"
evidence = "announcement 12, in use since 2023"
timezone = "Europe/Prague"
settle = "1s"
"""


def serve(site: Site, **changes: str) -> None:
    text = SERVICE.format(folder=site.folder)
    for name, value in changes.items():
        text = "\n".join(f"{name} = {value}" if line.startswith(f"{name} =") else line for line in text.splitlines())
    (site.config.parent / "conf.d" / "adopt.toml").write_text(text)


def until(what: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.1)
    return what()


def alarms(site: Site) -> list[tuple[str, str]]:
    conn = sqlite3.connect(load(site.config).edge.journal)
    try:
        return conn.execute("SELECT code, message FROM alarm ORDER BY seq").fetchall()
    finally:
        conn.close()


def test_what_is_there_and_what_comes(site: Site, tmp_path: Path) -> None:
    serve(site)
    first = samples(2, 1)
    put(site.folder, "2024/01/" + freepbx_name("in", "600", "777123456", yesterday(), 1), wav(first))
    with site.daemon():
        assert until(lambda: site.files() == [])
        # A day's folder that comes later, and a file that is written for a while.
        second = samples(2, 2)
        folder = site.folder / "2024" / "02"
        folder.mkdir()
        path = folder / freepbx_name("q", "600", "777123457", yesterday(1), 2)
        with path.open("wb") as file:
            own(site.folder)
            file.write(wav(second, said=0, riff=0)[:1000])
            file.flush()
            os.utime(path, (1e9, 1e9))  # old by its time stamp, and still open
            time.sleep(2.5)
            assert path.exists()
            file.write(wav(second, said=0, riff=0)[1000:])
        assert until(lambda: site.files() == [])
        assert until(lambda: len(site.recordings("sealed")) == 2)
        sounds = [site.sound_of(one["recording_id"], tmp_path / "out.wav") for one in site.recordings()]
    assert sorted(sounds) == sorted([first, second])
    assert alarms(site) == []


def test_a_killed_daemon_goes_on(site: Site, tmp_path: Path) -> None:
    serve(site)
    sound = samples(150, 1)
    put(site.folder, freepbx_name("in", "600", "777123456", yesterday(), 1), wav(sound))
    for point in ("adopt.progress:2", "adopt.removing", "adopt.unlinked"):
        with site.daemon(point) as child:
            assert child.wait(30) == -signal.SIGKILL, point
    with site.daemon():
        conn = sqlite3.connect(load(site.config).edge.journal)
        assert until(lambda: conn.execute("SELECT count(*) FROM adoption WHERE removed_at IS NULL").fetchone()[0] == 0)
        conn.close()
        (row,) = site.recordings()
        assert site.sound_of(row["recording_id"], tmp_path / "out.wav") == sound
    assert site.files() == []


def _short(data: bytes) -> bytes:
    return data[:-1]


def _zeroed(data: bytes) -> bytes:
    """A block that a disk lost: the length is right."""
    return data[:65536] + bytes(65536) + data[131072:]


@pytest.mark.parametrize(("hurt", "code"), [(_short, "vault.short"), (_zeroed, "vault.differs")])
@pytest.mark.parametrize("suite", ["age1", "aes256gcm"])
def test_what_was_sealed_and_is_lost_is_begun_anew(
    site: Site, tmp_path: Path, hurt: Callable[[bytes], bytes], code: str, suite: str
) -> None:
    """The file goes for the whole of its sound, and a damaged payload keeps no daemon from starting."""
    conf = site.config.parent / "conf.d" / "support.toml"
    conf.write_text(conf.read_text().replace('suite = "age1"', f'suite = "{suite}"'))
    serve(site)
    sound = samples(200, 1)
    put(site.folder, freepbx_name("in", "600", "777123456", yesterday(), 1), wav(sound))
    with site.daemon("adopt.progress:2") as child:
        assert child.wait(30) == -signal.SIGKILL
    (payload,) = load(site.config).edge.vault.rglob("*.payload")
    data = payload.read_bytes()
    payload.write_bytes(hurt(data[: 2 << 20]) if code == "vault.short" else hurt(data))
    with site.daemon():
        assert until(lambda: site.files() == [])
        first, second = sorted(site.recordings(), key=lambda one: one["state"])
        assert (first["state"], second["state"]) == ("quarantined", "sealed")
        assert site.sound_of(second["recording_id"], tmp_path / "out.wav") == sound
    assert [one for one, _ in alarms(site)] == [code]


def test_a_closed_segment_that_was_damaged_meanwhile_is_begun_anew(site: Site, tmp_path: Path) -> None:
    serve(site)
    sound = samples(1000, 1)
    put(site.folder, freepbx_name("in", "600", "777123456", yesterday(), 1), wav(sound))
    with site.daemon("adopt.segment_added") as child:
        assert child.wait(30) == -signal.SIGKILL
    payload = max(load(site.config).edge.vault.rglob("*.payload"), key=lambda path: path.stat().st_size)
    data = bytearray(payload.read_bytes())
    data[1000] ^= 1
    payload.write_bytes(data)
    with site.daemon():
        assert until(lambda: site.files() == [])
        (sealed,) = site.recordings("sealed")
        assert site.sound_of(sealed["recording_id"], tmp_path / "out.wav") == sound
        assert len(site.recordings("quarantined")) == 1


def test_files_that_stay_and_a_folder_that_is_gone_are_alarmed_once(site: Site) -> None:
    serve(site)
    put(site.folder, "bad.wav", b"not a recording at all")
    with site.daemon():
        assert until(lambda: len(alarms(site)) == 1)
        put(site.folder, "good.wav", wav(samples(1, 1)))  # another pass
        assert until(lambda: site.files() == ["bad.wav"])
        assert [code for code, _ in alarms(site)] == ["adopt.left"]
        assert "adopt.not_wav" in alarms(site)[0][1]
    site.folder.rename(site.folder.with_name("away"))
    with site.daemon():
        assert until(lambda: [code for code, _ in alarms(site)] == ["adopt.left", "adopt.folder"])


def test_the_daemon_ends_while_it_is_at_work(site: Site) -> None:
    serve(site)
    for number in range(30):
        put(site.folder, freepbx_name("in", "600", "777123456", yesterday(number), number), wav(samples(30, number)))
    with site.daemon():
        assert until(lambda: 0 < len(site.files()) < 30)
    left = len(site.files())  # the block's end waited for the process, at most 30 s
    conn = sqlite3.connect(load(site.config).edge.journal)
    (sealed,) = conn.execute("SELECT count(*) FROM recording WHERE state='sealed'").fetchone()
    conn.close()
    assert sealed + left >= 30


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"policy": '"nobody"'}, "no such policy"),
        ({"policy": '"private"'}, "never records"),
        ({"reference": '""'}, "has no reference"),
        ({"evidence": '" "'}, "has no evidence"),
        ({"timezone": '"Mars/Olympus"'}, "no time zone"),
        ({"settle": '"0s"'}, "out of range"),
        ({"basis": '"given"'}, "basis"),
        ({"folder": '"/"'}, "daemon's own"),
    ],
)
def test_a_service_that_does_not_fit_is_refused_where_it_stands(site: Site, changes: dict[str, str], word: str) -> None:
    serve(site, **changes)
    with pytest.raises(CallwardenError, match=word) as error:
        load(site.config)
    assert "adopt.toml:" in error.value.where


def test_two_services_do_not_empty_one_folder(site: Site) -> None:
    serve(site)
    conf = site.config.parent / "conf.d" / "adopt.toml"
    text = conf.read_text()
    conf.write_text(text + text.replace("[adopt.pbx]", "[adopt.two]").replace('monitor"', 'monitor/2024"'))
    with pytest.raises(CallwardenError, match="empties this folder too"):
        load(site.config)
