"""Kill -9 at every step of the write order `adopt`, of the daemon and of the command; each time one usable copy is there,
and running the same again ends with each file taken over once and none left."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.adopt.adopt_kit import Ran, Site, freepbx_name, make_site, put, samples, wav, yesterday

pytestmark = pytest.mark.crash

#: Steps of the daemon, and the recording's state after the kill.
DAEMON = {
    "start.slot_synced": None, "adopt.filed": "recording", "vault.created": "recording", "vault.appended": "recording",
    "adopt.piece_synced": "recording", "adopt.piece_verified:2": "recording", "adopt.progress": "recording",
    "adopt.progress:2": "recording",
"adopt.segment_closed": "recording", "adopt.sealed": "sealed",
}  # fmt: skip
#: Steps of the command, and whether the file is still there.
COMMAND = {"adopt.answered": True, "adopt.removing": True, "adopt.unlinked": False, "adopt.noted": False}
#: Met only after an earlier kill.
SECOND = ("adopt.segment_added",)
POINTS = (*DAEMON, *COMMAND, *SECOND)

#: Three pieces of 1 MiB, the last not whole.
SOUND = samples(150, 3)
SHORT = samples(2, 4)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    run_dir = Path(tempfile.mkdtemp(prefix="cw-", dir="/dev/shm"))
    site = make_site(tmp_path / "etc", run_dir)
    put(site.folder, "a/" + freepbx_name("in", "600", "777123456", yesterday(), 7), wav(SOUND))
    put(site.folder, "b/" + freepbx_name("out", "777123456", "201", yesterday(3), 8), wav(SHORT))
    yield site
    shutil.rmtree(run_dir)


def journal_of(site: Site) -> Path:
    from edge.config import load

    return load(site.config).edge.journal


def sealed(site: Site) -> list[str]:
    conn = sqlite3.connect(journal_of(site))
    try:
        return [row[0] for row in conn.execute("SELECT state FROM recording ORDER BY seq")]
    finally:
        conn.close()


def usable(site: Site) -> None:
    """Either the file or its sealed recording, of both files."""
    there = len(site.files())
    assert there + sealed(site).count("sealed") >= 2, (site.files(), sealed(site))
    assert all(
        len(data) in (44 + len(SOUND), 44 + len(SHORT))
        for data in map(Path.read_bytes, (site.folder / f for f in site.files()))
    )


def ends_well(site: Site, tmp_path: Path) -> None:
    with site.daemon():
        done = site.adopt("--apply", "--json")
        assert done.code == 0, done.err
        assert site.files() == []
        rows = site.recordings()
        assert [row["state"] for row in rows] == ["sealed", "sealed"]
        sounds = [site.sound_of(row["recording_id"], tmp_path / "out.wav") for row in rows]
        assert sorted(sounds) == sorted([SOUND, SHORT])
        again = site.adopt("--apply", "--json").json
        assert (again["files"], again["adopted"]) == (0, 0)
        assert site.command("audit", "verify").code == 0
    conn = sqlite3.connect(journal_of(site))
    try:
        (outside,) = conn.execute(
            "SELECT count(*) FROM adoption WHERE removed_at IS NULL OR place IS NOT NULL"
        ).fetchone()
        assert outside == 0
        assert conn.execute("SELECT count(*) FROM segment WHERE state='open'").fetchone()[0] == 0
        payloads = conn.execute("SELECT recording_id, segment_id, payload_bytes FROM segment").fetchall()
        slots = [row[0] for row in conn.execute("SELECT slot FROM header")]
    finally:
        conn.close()
    from edge.config import load
    from edge.vault.payloads import PayloadVault

    on_disk = PayloadVault(str(load(site.config).edge.vault)).listing()
    assert sorted(one for one in payloads if one[2]) == sorted(one for one in on_disk if one[2])
    assert len(set(slots)) == len(slots)


@pytest.mark.parametrize("point", DAEMON)
def test_the_daemon_is_killed_at(point: str, site: Site, tmp_path: Path) -> None:
    with site.daemon(point) as child:
        broken = site.adopt("--apply", "--json")
        assert child.wait(10) == -signal.SIGKILL, (point, broken)
    assert broken.code == 4, broken.err
    assert sealed(site)[:1] == ([DAEMON[point]] if DAEMON[point] else [])
    usable(site)
    assert len(site.files()) == 2  # nothing was removed without the daemon's word
    ends_well(site, tmp_path)


@pytest.mark.parametrize("point", COMMAND)
def test_the_command_is_killed_at(point: str, site: Site, tmp_path: Path) -> None:
    with site.daemon():
        killed: Ran = site.adopt("--apply", failpoint=point)
        assert killed.code == -signal.SIGKILL, killed.err
        usable(site)
        assert len(site.files()) == 1 + COMMAND[point]
    ends_well(site, tmp_path)


@pytest.mark.parametrize("point", SECOND)
def test_killed_twice_at(point: str, site: Site, tmp_path: Path) -> None:
    for failpoint in ("adopt.progress:2", point):
        with site.daemon(failpoint) as child:
            assert site.adopt("--apply").code == 4
            assert child.wait(10) == -signal.SIGKILL
        usable(site)
    ends_well(site, tmp_path)


def test_the_command_is_killed_while_it_sends(site: Site, tmp_path: Path) -> None:
    """The daemon lives on: what it has is kept, and the next run goes on behind it."""
    with site.daemon("adopt.progress:2=stop") as daemon:
        import subprocess
        import sys

        from tests.unit.adopt import adopt_kit

        sender = subprocess.Popen(
            [sys.executable, "-m", "callwarden", "--config", str(site.config), "adopt", str(site.folder),
             *adopt_kit.GROUNDS, "--apply"], cwd=adopt_kit.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert os.waitid(os.P_PID, daemon.pid, os.WSTOPPED | os.WNOWAIT) is not None
        sender.kill()
        sender.wait()
        os.kill(daemon.pid, signal.SIGCONT)
        usable(site)
        assert len(site.files()) == 2
        done = site.adopt("--apply", "--json")
        assert (done.code, done.json["adopted"]) == (0, 2), done.err
    ends_well(site, tmp_path)
