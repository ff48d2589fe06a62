"""An edge whose daemon can only take files over: real journal, slots, vault and local door, in a process that can be killed.

usage: python -m tests.unit.adopt.adopt_kit CONFIG. Prints `ready` when the door is open; ends at end of input.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.adopt.standing import Standing
from edge.api.deps import ApiDeps
from edge.api.server import make_app, serve
from edge.audit.log import AuditLog
from edge.clock import SystemClock
from edge.config import load
from edge.recorder.adopting import Adopter
from edge.recorder.manifests import manifest_maker
from edge.recorder.resume import ResumeFolder
from edge.recorder.tools import Tools
from edge.store.journal import Journal
from edge.vault.payloads import PayloadVault
from edge.vault.slots import ShredSlots
from formats.keys import load_key
from tests.unit.cli import cli_makers

ROOT = Path(__file__).parents[3]
#: Who owns the folder of recordings: the command may not be root.
OWNER = 65534 if os.geteuid() == 0 else os.getuid()
GROUNDS = (
    "--policy", "support", "--basis", "legitimate_interests", "--reference", "assessment of 2024-01-05",
    "--evidence", "announcement 12, in use since 2023", "--timezone", "Europe/Prague",
)  # fmt: skip


def samples(seconds: float, seed: int, *, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    """Sound that no other seed gives."""
    return hashlib.shake_128(seed.to_bytes(4, "big")).digest(int(seconds * rate) * channels * width)


def wav(
    sound: bytes, *, tag: int = 1, bits: int = 16, channels: int = 1, rate: int = 8000, said: int | None = None,
    riff: int | None = None, before: bytes = b"", after: bytes = b"", extensible: bool = False,
) -> bytes:  # fmt: skip
    """A WAV file, as right or wrong as it is asked to be."""
    block = bits // 8 * channels
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * block, block, bits)
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 0, tag) + bytes.fromhex("000000001000800000aa00389b71")
    size = len(sound) if said is None else said
    body = (
        b"WAVEfmt " + struct.pack("<I", len(form)) + form + before + b"data" + struct.pack("<I", size) + sound + after
    )
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def freepbx_name(kind: str, dest: str, caller: str, at: datetime, number: int) -> str:
    """As FreePBX makes it; `at`: aware. Times in Prague."""
    from zoneinfo import ZoneInfo

    here = at.astimezone(ZoneInfo("Europe/Prague"))
    return f"{kind}-{dest}-{caller}-{here:%Y%m%d-%H%M%S}-{int(at.timestamp())}.{number}.wav"


def put(folder: Path, path: str, data: bytes, *, age: float = 3600) -> Path:
    """A file of the folder's owner, written `age` seconds ago."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    os.utime(target, (time.time() - age, time.time() - age))
    own(folder)
    return target


def own(folder: Path) -> None:
    """Everything beneath belongs to the user the command will be."""
    if os.geteuid() != 0:
        return
    for where, _, files in os.walk(folder):
        os.lchown(where, OWNER, OWNER)
        for name in files:
            os.lchown(os.path.join(where, name), OWNER, OWNER)


def yesterday(hours: float = 0) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=1, hours=hours)


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Site:
    """A configured edge and a monitor folder."""

    config: Path
    folder: Path

    def adopt(self, *args: str | Path, failpoint: str = "", timeout: float = 60) -> Ran:
        """`callwarden adopt` in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "callwarden", "--config", str(self.config), "adopt", str(self.folder), *GROUNDS,
             *map(str, args)],
            cwd=ROOT, env={**_clean(), "CALLWARDEN_FAILPOINT": failpoint}, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def command(self, *args: str | Path) -> cli_makers.Ran:
        """Any other command, within this process."""
        return cli_makers.command("--config", self.config, *args)

    @contextmanager
    def daemon(self, failpoint: str = "") -> Iterator[subprocess.Popen[str]]:
        """The daemon, until the block ends or a failpoint ends it."""
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.adopt.adopt_kit", str(self.config)], cwd=ROOT, text=True,
            env={**_clean(), "CALLWARDEN_FAILPOINT": failpoint}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            assert "ready\n" in iter(child.stdout.readline, "")  # behind what the recovery logs
            yield child
        finally:
            child.stdin.close()
            child.wait(30)
            child.stdout.close()

    def files(self) -> list[str]:
        """What lies in the folder."""
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if not p.is_dir())

    def recordings(self, *states: str) -> Sequence[dict[str, Any]]:
        found: list[dict[str, Any]] = self.command("recordings", "--json").json
        return [one for one in found if not states or one["state"] in states]

    def sound_of(self, recording_id: str, target: Path) -> bytes:
        """The recording's sound, opened with the operator's identity."""
        target.unlink(missing_ok=True)
        identity = next(self.config.parent.rglob("operator*.age*"), None) or next(
            self.config.parent.rglob("*.identity")
        )
        done = self.command("export", recording_id, "-o", target, "-i", identity)
        assert done.code == 0, done.err
        return target.read_bytes()[44:]


def make_site(etc: Path, run_dir: Path) -> Site:
    """`etc` holds the edge; `run_dir` is short, in memory, and may be entered by the folder's owner."""
    run_dir.chmod(0o755)
    edge = cli_makers.make_edge(etc, run_dir)
    folder = run_dir / "monitor"
    folder.mkdir()
    own(folder)
    return Site(edge.config, folder)


def _clean() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("CALLWARDEN_", "CENTRAL_"))}


async def main(path: Path) -> None:
    """The daemon's part of it, put together as `edge.app` does."""
    config = load(path)
    section, audit = config.edge, AuditLog()
    journal = Journal.open(section.journal, audit=audit, clock=SystemClock(), edge_id=section.id)
    slots = ShredSlots.open(str(section.state / "shred.keys"), owner=journal.instance_id, allow_copy_on_write=True)
    slots.sweep(await journal.slots_in_use())
    await audit.unlock(journal, slots)
    key = load_key(section.signing_key_file.read_bytes())
    vault = PayloadVault(str(section.vault))
    with ThreadPoolExecutor(1) as worker:
        tools = Tools(
            journal=journal, slots=slots, vault=vault, spool=None, asterisk=None,  # type: ignore[arg-type]
            resume=ResumeFolder(section.resume, journal.instance_id, SystemClock()), clock=SystemClock(),
            make_manifest=manifest_maker(section.id, key), worker=worker,
        )  # fmt: skip
        adopter = Adopter(tools, section.id, config.policies.get, lambda: config.telephony.country)
        await adopter.recover()
        deps = ApiDeps(
            section.id, key.verify_key.jwk(), journal, journal.views, slots, vault, readiness=lambda: {"ready": True},
            adopt=adopter,
        )  # fmt: skip
        # The group of the folder's owner may open it, as Asterisk's group may in a real place.
        door = await serve(make_app(deps), section.socket, mode=0o666)
        standing = Standing(adopter, journal, config.adopt)
        running = asyncio.create_task(standing.run())
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await door.cleanup()
        await slots.close()
        await journal.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))


__all__ = [
    "GROUNDS",
    "OWNER",
    "Site",
    "freepbx_name",
    "make_site",
    "own",
    "put",
    "samples",
    "shutil",
    "wav",
    "yesterday",
]
