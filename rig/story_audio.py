"""What an exported recording must sound like, and that others can open it, too."""

from __future__ import annotations

import re
import wave
from dataclasses import dataclass

import numpy as np

from rig.agent import AGENT_VOICE
from rig.programs import programs
from rig.story import Story
from rig.story_scene import Caller, Scene, run
from rig.tones import AGENT, CALLER, Pcm, check, listen

_GAP = re.compile(r"gap of ([\d.]+) s at")
_CUT = re.compile(r"second of (0\.\d+) s at")


async def exported(scene: Scene, recording: str, name: str) -> bytes:
    """The samples of the exported WAV."""
    target = scene.scratch / name
    target.unlink(missing_ok=True)
    identity = str(scene.stack.identity_file)
    done = await scene.command(
        "export", recording, "--identity", identity, "-o", str(target), "--case", "demo", check=False
    )
    scene.story.claim(
        "`callwarden export` opens it with the operator's identity", done.returncode == 0, done.stderr.strip()
    )
    with wave.open(str(target)) as wav:
        shape = (wav.getnchannels(), wav.getframerate(), wav.getsampwidth())
        audio = bytes(wav.readframes(wav.getnframes()))
    scene.story.claim("a WAV of two channels at 8 kHz", shape == (2, 8000, 2))
    target.unlink()
    return audio


@dataclass(frozen=True)
class Heard:
    """One voice in a recording: its whole seconds, what is wrong with them, and how much silence lies inside of them.

    A caller's or agent's packets may come late on a busy host: Asterisk fills with silence or drops them, which cuts a
    second short. `hushed`, seconds, is that much. It is so in what Asterisk wrote, nobody lost it since; a fault is a
    second that is missing, repeated, foreign, or less than half of which is there.
    """

    seconds: int
    faults: tuple[str, ...]
    hushed: float

    @property
    def whole(self) -> bool:
        """No fault, and little came late."""
        return self.seconds > 0 and not self.faults and self.hushed < 0.03 * self.seconds + 0.3

    def __str__(self) -> str:
        late = f", {self.hushed:.2f} s of late packets" if self.hushed else ""
        return "; ".join(self.faults) or f"{self.seconds} seconds{late}"


def heard(pcm: Pcm, seed: int | str, band: tuple[int, ...]) -> Heard:
    """How well a speaker is heard in one channel (s16, 8 kHz)."""
    verdict = check(listen(pcm, band), seed, band)
    hushed, faults = 0.0, []
    for fault in verdict.faults:
        if gap := _GAP.match(fault):
            hushed += float(gap[1])
        elif (cut := _CUT.match(fault)) and float(cut[1]) >= 0.5:
            hushed += 1 - float(cut[1])
        else:
            faults.append(fault)
    return Heard(verdict.seconds, tuple(faults), hushed)


def channels_of(audio: bytes) -> tuple[Pcm, Pcm]:
    """(left, right) of interleaved s16le."""
    stereo = np.frombuffer(audio, dtype="<i2").reshape(-1, 2)
    return np.ascontiguousarray(stereo[:, 0]), np.ascontiguousarray(stereo[:, 1])


def same_voices(story: Story, who: Caller, audio: bytes) -> None:
    """Caller left, agent right, second by second."""
    left, right = channels_of(audio)
    whole = len(left) // 8000
    mine = heard(left, who.voice, CALLER)
    story.claim(
        f"left: {who.name}'s tone, which changes every second in an order of its own; none missing, none foreign",
        mine.whole and mine.seconds >= whole,
        mine,
    )
    theirs = heard(right, AGENT_VOICE, AGENT)
    story.claim("right: the agent's tone, the same way", theirs.whole and theirs.seconds >= whole - 1, theirs)
    story.claim("and neither is heard in the other's channel", not (listen(left, AGENT) or listen(right, CALLER)))


async def stock_age(scene: Scene, recording: str, audio: bytes) -> None:
    """The raw export opens with the age everybody has."""
    raw = scene.scratch / "raw.age"
    done = await scene.command(
        "export", recording, "--raw-age", "-o", str(raw), "--case", "demo", "--json", check=False
    )
    files = sorted(scene.scratch.glob("raw*.age"), key=lambda p: (len(p.name), p.name))
    opened = b""
    for file in files:
        opened += (await run(*programs().age, "-d", "-i", str(scene.stack.identity_file), str(file)))[1]
        file.unlink()
    scene.story.claim(
        "stock `age -d` opens the raw export and gives the same bytes",
        done.returncode == 0 and opened == audio,
        f"{len(opened)} bytes",
    )
