"""Places calls and tells how each went, as its caller saw it."""

from __future__ import annotations

import asyncio
import itertools
import os
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.asterisk import Asterisk
from rig.scenarios import Press, Speak, Step, Wait, caller
from rig.sipp import Entry, run_callers
from rig.tones import CALLER, voice_file

#: What callers do when asked. Each speaks from the moment the call is answered, so that a recording which began too
#: early would hold seconds it must not hold.
BEHAVIOURS = ("agree", "refuse", "silent", "hang_up")

_serial = itertools.count(1)


@dataclass(frozen=True)
class CallResult:
    """One call. Times are Unix seconds, None where it never came to that."""

    number: str
    voice: int  # the seed of the caller's voice, for rig.tones.check
    invited: float
    answered: float | None
    pressed: tuple[float, ...]
    ended: float | None
    ended_by: str  # "caller", "pbx" or "" when it was refused or broke off
    refused: int | None  # SIP status of a refusal
    exit_code: int  # SIPp's: 0 when all its calls went as the scenario says
    errors: str  # what SIPp complained about

    @property
    def talked(self) -> float:
        """Seconds from the answer to the end; 0 when never answered."""
        return 0.0 if self.answered is None or self.ended is None else self.ended - self.answered


def steps_of(
    behaviour: str, voice: Path, *, seconds: float, key: str, prompt_s: float, law: str = "ulaw"
) -> list[Step]:
    """The steps of a named behaviour: listen for `prompt_s`, act, stay for `seconds` more."""
    start: list[Step] = [Speak(voice, law), Wait(round(prompt_s * 1000))]
    talk = Wait(round(seconds * 1000))
    if behaviour in ("agree", "refuse"):
        return [*start, Press(key), talk]
    if behaviour == "silent":
        return [*start, talk]
    if behaviour == "hang_up":
        return start
    raise ValueError(f"no behaviour {behaviour!r}; there are {', '.join(BEHAVIOURS)}")


async def place_call(
    pbx: Asterisk,
    ext: str,
    *,
    behaviour: str = "agree",
    seconds: float = 5.0,
    key: str | None = None,
    prompt_s: float = 3.0,
    number: str | None = None,
    name: str = "Rig Caller",
    voice: int | None = None,
    steps: Sequence[Step] | None = None,
    law: str = "ulaw",
) -> CallResult:
    """Dial `ext` and live through the call.

    key: 1 for agree and 9 for refuse unless named; number, name: what the caller claims to be, any characters but
    line ends; voice: seed of its tone, one of its own unless named; steps: in place of a behaviour
    (who speaks in them brings the voice's file).
    Raises CallwardenError environment.sipp when SIPp could not run the scenario at all.
    """
    serial = next(_serial)
    voice = serial if voice is None else voice
    number = _number(serial) if number is None else number
    if steps is None:
        path = voice_file(folder(pbx, "voices"), voice, CALLER, law)
        key = key or ("9" if behaviour == "refuse" else "1")
        steps = steps_of(behaviour, path, seconds=seconds, key=key, prompt_s=prompt_s, law=law)
    todo = list(steps)
    row, name_fields = claim(number, name)
    run = await run_callers(
        pbx.programs,
        folder(pbx, "calls"),
        sip_port=pbx.sip_port,
        ext=ext,
        scenario=caller(todo, name_fields=name_fields),
        rows=[row],
        rate=1,
        longest=sum(step.ms for step in todo if isinstance(step, Wait | Press)) / 1000 + 60,
    )
    return _result(number, voice, next(iter(run.calls.values())), run.exit_code, run.errors)


async def place_many(
    pbx: Asterisk,
    ext: str,
    *,
    calls: int,
    rate: float,
    seconds: float,
    behaviour: str = "agree",
    key: str = "1",
    prompt_s: float = 3.0,
    processes: int = 4,
) -> list[CallResult]:
    """`calls` calls at `rate` a second, for load; each number is its own, each SIPp process has one voice."""
    processes = min(processes, calls)
    shares = [calls // processes + (n < calls % processes) for n in range(processes)]

    async def share(size: int) -> list[CallResult]:
        serials = [next(_serial) for _ in range(size)]
        path = voice_file(folder(pbx, "voices"), serials[0])
        numbers = [_number(serial) for serial in serials]
        run = await run_callers(
            pbx.programs,
            folder(pbx, "calls"),
            sip_port=pbx.sip_port,
            ext=ext,
            scenario=caller(steps_of(behaviour, path, seconds=seconds, key=key, prompt_s=prompt_s)),
            rows=[claim(number, "Rig Caller")[0] for number in numbers],
            rate=rate / processes,
            longest=size / rate * processes + prompt_s + seconds + 60,
        )
        # SIPp numbers its calls from 1 in the order of the rows: N-PID@HOST.
        return [
            _result(numbers[int(call.split("-")[0]) - 1], serials[0], entries, run.exit_code, run.errors)
            for call, entries in run.calls.items()
        ]

    return [result for results in await asyncio.gather(*map(share, shares)) for result in results]


def claim(number: str, name: str) -> tuple[str, int]:
    """A row for SIPp's injection file, and into how many fields a semicolon cut the name.

    The number is percent-encoded as SIP asks, so Asterisk sees it raw whatever it holds. Raises ValueError for line ends.
    """
    if any(end in number + name for end in "\r\n"):
        raise ValueError("a SIP header cannot carry a line end")
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f"{urllib.parse.quote(number, safe='+')};{quoted}", name.count(";") + 1


def folder(pbx: Asterisk, name: str) -> Path:
    """A folder for the callers' files in the run's folder, made if missing."""
    path = pbx.run / name
    path.mkdir(exist_ok=True)
    return path


def _number(serial: int) -> str:
    """A number of its own: Czech mobile range, this process's mark, then the serial."""
    return f"+4206{os.getpid() % 1000:03}{serial % 100_000:05}"


def _result(number: str, voice: int, entries: list[Entry], exit_code: int, errors: str) -> CallResult:
    first = {entry.word: entry for entry in reversed(entries)}

    def at(word: str) -> float | None:
        return first[word].at if word in first else None

    by_pbx = at("they_hung_up")
    ended = by_pbx or at("we_hung_up")
    return CallResult(
        number=number,
        voice=voice,
        invited=entries[0].at,
        answered=at("answered"),
        pressed=tuple(entry.at for entry in entries if entry.word == "pressed"),
        ended=ended,
        ended_by="pbx" if by_pbx else "caller" if ended else "",
        refused=int(first["refused"].rest) if "refused" in first else None,
        exit_code=exit_code,
        errors=errors,
    )
