"""A whole stack for the dialplan's tests, and what its recordings hold."""

from __future__ import annotations

import asyncio
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np

from rig.checker import cdr_rows
from rig.stack import Stack
from rig.tones import Pcm

#: Seconds into the English question when keys count, and more than its length.
ANSWER_S, OVER_S = 7.0, 30.0


def tags_of(stack: Stack, number: str) -> list[str]:
    """The user fields of this caller's records."""
    return [row["userfield"] for row in cdr_rows(stack.pbx()) if row["src"] == number]


async def call_of(stack: Stack, number: str, known: int = 0, within: float = 20) -> dict[str, Any]:
    """The newest call from this number after the first `known`, once it has ended and its recordings are sealed.

    Asterisk's records name the call: the journal forgets numbers of calls without a recording. Raises AssertionError.
    """
    end = time.monotonic() + within
    while time.monotonic() < end:
        tags = tags_of(stack, number)[known:]
        named = tags[-1].rpartition("call=")[2] if tags else ""
        calls = await asyncio.to_thread(stack.read, "calls")
        found = [c for c in calls if c["call_id"] == named and c["state"] == "ended"]
        if found:
            states = {r["recording_id"]: r["state"] for r in await asyncio.to_thread(stack.read, "recordings")}
            if all(states.get(r) == "sealed" for r in found[0]["recordings"]):
                call: dict[str, Any] = found[0]
                return call
        await asyncio.sleep(0.3)
    raise AssertionError(f"no ended call from {number}")


def sides(stack: Stack, recording_id: str) -> tuple[Pcm, Pcm]:
    """(left, right) of a recording, by the export command."""
    target = stack.state / f"{recording_id}.wav"
    stack.callwarden(
        "export", recording_id, "--identity", str(stack.identity_file), "-o", str(target), "--purpose", "quality"
    )
    with wave.open(str(target)) as wav:
        assert wav.getnchannels() == 2
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2").reshape(-1, 2)
    Path(target).unlink()
    return np.ascontiguousarray(pcm[:, 0]), np.ascontiguousarray(pcm[:, 1])
