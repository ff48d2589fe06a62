"""What the acts of the demo share: who calls, and the stack they call."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rig.asterisk import Asterisk
from rig.callers import CallResult, place_call
from rig.checker import cdr_of, cel_rows, outcome
from rig.scenarios import Speak, Step
from rig.stack import Stack
from rig.story import Story
from rig.tones import Pcm, encode, tone

#: Resident plaintext may never be more, bytes (the promise of item "Capture and sealing").
MOST_RESIDENT = 256 * 1024
#: Bytes a second of the default capture: 8000 samples, two channels of 16 bits.
BYTE_RATE = 32_000
#: Asterisk writes through a stdio buffer of 32 KiB, so a file may lag by that much, seconds.
BUFFER_S = 32_768 / BYTE_RATE
#: The English prompt takes a key from its 4.95th second on; a busy host may begin it late.
HEARD_ENOUGH_S = 6.5


#: Amplitude of the noise in a voice, 1/20 of the tone's: every byte is its own, and every pitch as clear as before.
BREATH = 300


@dataclass(frozen=True)
class Caller:
    """Somebody who calls: a name to tell, a number to find the call by, the seed of a voice."""

    name: str
    number: str
    voice: int


@dataclass
class Scene:
    """What the acts share. scratch: a folder in memory for exports and voices; since: when the story began."""

    stack: Stack
    story: Story
    scratch: Path
    since: float
    heard: list[bytes] = field(default_factory=list)

    @property
    def pbx(self) -> Asterisk:
        """The running Asterisk."""
        return self.stack.pbx()

    def caller(self, name: str) -> Caller:
        """Somebody new, with a number nobody had before."""
        return Caller(name, f"+4207{secrets.randbelow(10**8):08}", secrets.randbelow(10**6))

    async def call(self, who: Caller, steps: Sequence[Step], extension: str = "1001") -> CallResult:
        """Live through a call. The voice's file lies in memory: on disk it would be found by the search for plaintext."""
        voice = self.scratch / f"voice-{who.voice}.ulaw"
        voice.write_bytes(encode(breathy(tone(who.voice))))
        return await place_call(
            self.pbx, extension, number=who.number, name=who.name, voice=who.voice, steps=[Speak(voice), *steps]
        )

    async def command(self, *arguments: str, check: bool = True) -> Any:
        """The finished command, run beside the story."""
        return await asyncio.to_thread(self.stack.callwarden, *arguments, check=check)

    async def read(self, *arguments: str) -> Any:
        """The JSON a reading command prints."""
        return await asyncio.to_thread(self.stack.read, *arguments)

    async def row_of(self, who: Caller, result: CallResult) -> dict[str, Any]:
        """The call's row of `callwarden calls`, found by Asterisk's own linked id, with `cdr`: the outcome in its record."""
        [record] = await asyncio.to_thread(cdr_of, self.pbx, who.number)
        rows = await self.read("calls")
        row = next((r for r in rows if r["linked_id"] == record["linkedid"]), None)
        self.story.claim(f"{who.name}'s call is in Asterisk's record and in `callwarden calls`", row)
        assert row is not None
        return {**row, "cdr": outcome(record)}

    async def recording(self, recording: str) -> dict[str, Any]:
        """One row of `callwarden recordings`."""
        rows: list[dict[str, Any]] = await self.read("recordings")
        return next(r for r in rows if r["recording_id"] == recording)


def bridge_seconds(pbx: Asterisk, number: str) -> float:
    """How long the caller's channel was in a bridge, from Asterisk's event log."""
    times = {row["eventtype"]: float(row["eventtime"]) for row in cel_rows(pbx) if row["num"] == number}
    return times.get("BRIDGE_EXIT", 0.0) - times.get("BRIDGE_ENTER", 0.0)


def breathy(voice: Pcm) -> Pcm:
    """The voice with a faint noise that nobody else has: pure tones of other rigs on this host are the same bytes."""
    noise = np.random.default_rng(secrets.randbits(64)).integers(-BREATH, BREATH, len(voice))
    return (voice + noise).astype(np.int16)


async def run(*command: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> tuple[int, bytes, str]:
    """(exit code, stdout, stderr) of a program."""
    child = await asyncio.create_subprocess_exec(
        *command,
        env=env,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    assert child.returncode is not None
    return child.returncode, out, err.decode(errors="replace").strip()
