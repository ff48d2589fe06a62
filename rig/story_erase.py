"""The demo's last act: central knows the recordings, orders one erased, and what is left of it is tried to be opened."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from formats import shred
from formats.errors import FormatError
from rig.checker import channels, wait_idle
from rig.places import PROJECT
from rig.programs import programs
from rig.story import soon
from rig.story_audio import exported
from rig.story_scene import Scene, run
from rig.story_search import search
from rig.story_watch import payloads

#: Bytes of a slot in shred.keys, and where its 32-byte secret lies (edge/vault/slotfile.py describes the layout).
_SLOT, _SECRET = 64, slice(8, 40)

#: Runs the command with every network call refused, and every file below the folders named refused as well.
_OFFLINE = """
import json, os, sys
forbidden = tuple(json.loads(os.environ["FORBIDDEN"]))
def guard(event, arguments):
    if event.startswith("socket."):
        raise PermissionError(event + " in an offline verification")
    if event == "open" and isinstance(arguments[0], str) and os.path.abspath(arguments[0]).startswith(forbidden):
        raise PermissionError("the verification opened " + arguments[0])
sys.addaudithook(guard)
from callwarden.__main__ import main
main()
"""


class Kept(NamedTuple):
    """What somebody with a copy of journal and vault has of one segment."""

    segment: str
    version: int
    sealed: bytes
    slot: int
    payload: bytes


async def erased_by_central(scene: Scene, recording: str, other: str) -> None:
    """The act. recording: the one to erase; other: one that must live on. Raises ClaimFailed."""
    story = scene.story
    story.act("Central has learned of both recordings; the data protection officer has one erased")
    known = await soon(lambda: _at_central(scene, recording, other), within=15)
    story.claim("central lists both recordings as sealed (its list holds no audio and no key)", known)
    kept = await asyncio.to_thread(_copies, scene, recording)
    opened = b"".join([await _age(scene, _header(scene, recording, k), k.payload) or b"" for k in kept])
    story.claim(
        "a copy of journal, vault, keys and identity taken now does open it",
        opened and opened in scene.heard,
        f"{len(opened)} bytes",
    )
    secrets = [_secret(scene, k.slot) for k in kept]
    found = await asyncio.to_thread(search, scene.stack, secrets, scene.since)
    places = sorted(Path(hit).name for hit in found.hits)
    story.claim(
        "its shred key lies in two places on disk: the edge's slots and central's keeper",
        len(places) == 2,
        ", ".join(places),
    )
    receipt = await _ordered(scene, recording)
    await _verified_offline(scene, receipt)
    await _gone(scene, recording, kept, secrets)
    await exported(scene, other, "other.wav")
    await _books(scene)


async def _ordered(scene: Scene, recording: str) -> dict[str, Any]:
    story = scene.story
    story.tell(f"callwarden central erase --recording {recording} --reason 'the caller asked' --dpo-key ...")
    key = str(scene.stack.dpo_key)
    done = await scene.command(
        "central",
        "erase",
        "--recording",
        recording,
        "--reason",
        "the caller asked",
        "--dpo-key",
        key,
        "--wait",
        "30",
        check=False,
    )
    story.claim(
        "the edge carried the order out and central has its receipt",
        done.returncode == 0,
        done.stderr.strip().splitlines()[-1] if done.stderr else "",
    )
    receipt: dict[str, Any] = json.loads(done.stdout)
    claims = receipt["claims"]
    story.claim(
        "the receipt says done, for this recording", (claims["result"], claims["recording_id"]) == ("done", recording)
    )
    return receipt


async def _verified_offline(scene: Scene, receipt: dict[str, Any]) -> None:
    """The receipt and the trust file alone, in an empty folder, with no network."""
    story, folder = scene.story, scene.scratch / "auditor"
    folder.mkdir()
    shutil.copy(scene.stack.trust, folder / "trust.json")
    told = await _verify(scene, folder, receipt)
    story.claim(
        "it verifies elsewhere with the trusted keys alone, sockets and the stack's folders refused",
        told[0] == 0,
        told[1],
    )
    refused = {}
    for what, damage in _FORGERIES.items():
        forged = copy.deepcopy(receipt)
        damage(forged)
        code, _ = await _verify(scene, folder, forged)
        refused[what] = code
    story.claim("forged receipts are refused", all(code == 7 for code in refused.values()), ", ".join(refused))
    shutil.rmtree(folder)


def _swap(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def _other_recording(receipt: dict[str, Any]) -> None:
    receipt["claims"]["recording_id"] = "0" * 32


def _other_signature(receipt: dict[str, Any]) -> None:
    receipt["jws"] = _swap(receipt["jws"], receipt["jws"].rindex(".") + 5)


def _fewer_signatures(receipt: dict[str, Any]) -> None:
    receipt["order"]["signatures"].pop()


#: What a forger would try, by what is printed.
_FORGERIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "another recording": _other_recording,
    "another signature": _other_signature,
    "an order without its second signature": _fewer_signatures,
}


async def _verify(scene: Scene, folder: Path, receipt: dict[str, Any]) -> tuple[int, str]:
    path = folder / "receipt.json"
    path.write_text(json.dumps(receipt))
    forbidden = [f"{p.resolve()}/" for p in (scene.stack.state, scene.stack.memory)]
    env = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": str(PROJECT), "FORBIDDEN": json.dumps(forbidden)}
    command = (sys.executable, "-c", _OFFLINE, "receipt", "verify", "receipt.json", "--trust", "trust.json")
    code, out, err = await run(*command, env=env, cwd=folder)
    return code, (out.decode().splitlines() or err.splitlines() or [""])[0]


async def _gone(scene: Scene, recording: str, kept: list[Kept], secrets: list[bytes]) -> None:
    """Everything is tried that somebody with all the files, and old copies of them, could try."""
    story = scene.story
    target = str(scene.scratch / "gone.wav")
    done = await scene.command(
        "export", recording, "--identity", str(scene.stack.identity_file), "-o", target, check=False
    )
    said = done.stderr.strip().splitlines()[0] if done.stderr else ""
    story.claim("export refuses: erased", done.returncode == 5 and not Path(target).exists(), said)
    left = payloads(scene.stack, recording)
    story.claim("its payload is gone from the vault", not left, ", ".join(map(str, left)))
    found = await asyncio.to_thread(search, scene.stack, secrets, scene.since)
    story.claim(
        "its shred key is in no file any more",
        not found.hits,
        ", ".join(found.hits) or f"{found.files} files, {found.bytes / 1e6:.0f} MB",
    )
    story.claim(
        "what lies in its slot now does not unseal its header", not any(_header(scene, recording, k) for k in kept)
    )
    tried = [await _age(scene, k.sealed, k.payload) for k in kept]
    story.claim("an old copy of payload and sealed header, with the operator's identity, does not open", not any(tried))
    facts = await scene.recording(recording)
    story.claim("the journal says erased, and keeps a tombstone", facts["state"] == "erased")


async def _books(scene: Scene) -> None:
    story = scene.story
    story.act("Afterwards")
    verdict = await soon(lambda: _audit(scene), within=20, every=0.5)
    story.claim(
        "the audit log verifies: recomputed from its entries, signed by the edge, cosigned by central",
        verdict,
        _told(verdict),
    )
    idle = await asyncio.to_thread(wait_idle, scene.pbx)
    story.claim("Asterisk's channel count is back to 0", idle and channels(scene.pbx) == 0)
    quiet = await soon(lambda: _quiet(scene), within=10, every=0.3)
    story.claim("the edge is ready for the next call, and nothing waits to be reported", quiet)
    spool = sorted(p.name for p in scene.stack.spool.iterdir())
    story.claim("the capture spool is empty", not spool, ", ".join(spool))


def _quiet(scene: Scene) -> bool:
    status = scene.stack.read("status")
    return bool(status["ready"] and status["outbox"] == {"waiting": 0, "dead": 0} and not status["receipts_waiting"])


def _told(verdict: dict[str, Any]) -> str:
    return f"{verdict.get('size')} entries, cosigned up to {verdict.get('cosigned')} by {', '.join(verdict.get('witnesses', ()))}"


def _audit(scene: Scene) -> dict[str, Any]:
    """The verdict once the newest checkpoint is cosigned, else an empty one."""
    verdict: dict[str, Any] = scene.stack.read("audit", "verify")
    whole = verdict["verified"] and verdict["witnesses"] and verdict["cosigned"] == verdict["signed"] > 0
    return verdict if whole else {}


def _at_central(scene: Scene, *recordings: str) -> bool:
    rows = {r["recording_id"]: r for r in scene.stack.read("central", "recordings")}
    return all(r in rows and rows[r]["state"] == "sealed" for r in recordings)


def _copies(scene: Scene, recording: str) -> list[Kept]:
    """Copies of what a thief or a backup would have: header rows of the journal, payloads of the vault."""
    rows: list[tuple[str, int, bytes, int]] = []
    for _ in range(5):  # the copy of a database in use may be torn; a backup would be repeated, too
        for suffix in ("", "-wal"):
            shutil.copy(f"{scene.stack.journal}{suffix}", scene.scratch / f"journal.db{suffix}")
        with sqlite3.connect(scene.scratch / "journal.db") as base:
            rows = base.execute(
                "SELECT h.segment_id, h.version, h.sealed_header, h.slot FROM header h JOIN segment s USING (segment_id)"
                " WHERE s.recording_id = ? ORDER BY s.number",
                (recording,),
            ).fetchall()
        base.close()
        for file in scene.scratch.glob("journal.db*"):
            file.unlink()
        if rows:
            break
    files = {p.stem: p.read_bytes() for p in payloads(scene.stack, recording) if p.suffix == ".payload"}
    return [Kept(segment, version, sealed, slot, files[segment]) for segment, version, sealed, slot in rows]


def _secret(scene: Scene, slot: int) -> bytes:
    with open(scene.stack.journal.parent / "shred.keys", "rb") as file:
        file.seek(slot * _SLOT)
        return file.read(_SLOT)[_SECRET]


def _header(scene: Scene, recording: str, kept: Kept) -> bytes:
    """The age header, unsealed with whatever is in its slot now; empty when that does not open it."""
    try:
        return shred.unseal_header(kept.sealed, _secret(scene, kept.slot), recording, kept.segment, kept.version)
    except FormatError:
        return b""


async def _age(scene: Scene, header: bytes, payload: bytes) -> bytes | None:
    """What stock age makes of header and payload with the operator's identity; None when it refuses."""
    file = scene.scratch / "tried.age"
    file.write_bytes(header + payload)
    code, out, _ = await run(*programs().age, "-d", "-i", str(scene.stack.identity_file), str(file))
    file.unlink()
    return out if code == 0 else None
