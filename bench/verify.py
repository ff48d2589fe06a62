"""Opens every recording of a round and compares its length with how long its caller talked."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import tempfile
import wave
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rig.stack import Stack

#: A recording may lack the agent's ringing (0.2 s) and begin with the dialling; anything beyond is a loss, seconds.
SHORTER_S, LONGER_S = 1.0, 1.0


@dataclass(frozen=True)
class Opened:
    """`seconds`: of audio that came out, None when it did not open; `why`: what the opener said then."""

    seconds: float | None
    why: str = ""

    def full(self, talked: float) -> bool:
        """Whether it opened and has its whole length."""
        return self.seconds is not None and talked - SHORTER_S <= self.seconds <= talked + LONGER_S


def open_wav(path: Path) -> Opened:
    """A WAV as it lies there."""
    try:
        with wave.open(str(path)) as audio:
            return Opened(audio.getnframes() / audio.getframerate())
    except (OSError, EOFError, wave.Error) as error:
        return Opened(None, str(error))


def open_age(path: Path, age: tuple[str, ...], identity: Path) -> Opened:
    """An age file, with the stock tool."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.wav")
        done = subprocess.run(
            [*age, "-d", "-i", str(identity), "-o", str(out), str(path)], capture_output=True, text=True, check=False
        )
        return open_wav(out) if done.returncode == 0 else Opened(None, done.stderr.strip())


@dataclass(frozen=True)
class Filed:
    """What the journal knows of a caller's recording."""

    recording_id: str
    spool_name: str


def filed(stack: Stack) -> dict[str, Filed]:
    """Recordings by the caller's number, from the journal, read only. While the daemon runs: it owns the WAL's files."""
    query = (
        "SELECT party.number_heard, recording.recording_id, capture.spool_name FROM recording"
        " JOIN capture USING(recording_id) JOIN party USING(call_id)"
    )
    # Closed at once: this process also reads the file's bytes (the search for audio), and closing those descriptors drops
    # this process's locks on it, so a connection left open would go on with a WAL that the daemon has replaced.
    with closing(sqlite3.connect(f"file:{stack.journal}?mode=ro", uri=True)) as conn:
        return {number: Filed(recording, spool) for number, recording, spool in conn.execute(query)}


async def export(stack: Stack, recordings: Mapping[str, str], *, keep: Path) -> dict[str, Opened]:
    """`callwarden export` of each {number: recording}; the last one's WAV stays at `keep`. Two at a time."""
    gate = asyncio.Semaphore(2)

    async def one(number: str, recording: str) -> tuple[str, Opened]:
        async with gate, asyncio.timeout(60):
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder, "out.wav")
                child = await asyncio.create_subprocess_exec(
                    str(stack.home / "callwarden"), "export", recording, "-o", str(out), "--case", "bench",
                    "--identity", str(stack.identity_file),
                    stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
                )  # fmt: skip
                said = (await child.communicate())[1].decode(errors="replace").strip()
                if child.returncode != 0:
                    return number, Opened(None, said)
                keep.write_bytes(out.read_bytes())
                return number, open_wav(out)

    return dict(await asyncio.gather(*(one(number, recording) for number, recording in recordings.items())))


def plaintext_found(wav: Path, *folders: Path) -> list[Path]:
    """Files below `folders` that hold a stretch from the middle of this WAV: plaintext that should not be there."""
    audio = wav.read_bytes()[44:]
    needle = audio[len(audio) // 2 :][:256]
    if len(set(needle)) < 16:
        raise ValueError(f"{wav}: too quiet in its middle to be looked for")
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if needle in path.read_bytes()]


def new_identity(path: Path, keygen: tuple[str, ...]) -> str:
    """Make an age identity for the script's recordings; returns its recipient."""
    done = subprocess.run([*keygen, "-o", str(path)], capture_output=True, text=True, check=True)
    return done.stderr.rpartition("Public key: ")[2].strip()
