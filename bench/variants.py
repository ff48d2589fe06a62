"""What is compared, and the dialplan that makes the calls alike.

Every caller of a prompted variant hears the same prompt file, presses 1 at the same moment, and then talks for the same
time; only Callwarden's prompt is played by its daemon, the others' by Asterisk's Read(). The bare variants leave the
prompt out: the plainest calls there are.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Variant:
    """One way to treat a call. `records`: none, wav, age or callwarden; `prompted`: whether the caller is asked first."""

    name: str
    title: str
    extension: str
    records: str
    prompted: bool = True

    @property
    def edge(self) -> bool:
        """Whether Callwarden's edge and guard run during the round."""
        return self.records == "callwarden"


PROMPTED = (
    Variant("plain", "Asterisk alone", "bench-plain", "none"),
    Variant("mixmonitor", "MixMonitor", "bench-wav", "wav"),
    Variant("age_script", "MixMonitor, then age and rm", "bench-age", "age"),
    Variant("callwarden", "Callwarden", "1001", "callwarden"),
)
BARE = (
    Variant("plain_bare", "Asterisk alone, no prompt", "1000", "none", prompted=False),
    Variant("mixmonitor_bare", "MixMonitor, no prompt", "1008", "wav", prompted=False),
    Variant("age_script_bare", "MixMonitor, then age and rm, no prompt", "1009", "age", prompted=False),
)


def dialplan(prompt: Path, monitor: Path, age: tuple[str, ...], recipient: str) -> str:
    """The extensions of the prompted variants. prompt: a path Asterisk can open, without its suffix."""
    wav = f"{monitor}/${{UNIQUEID}}.wav"
    seal = f"{shlex.join(age)} -r {recipient} -o ^{{MIXMONITOR_FILENAME}}.age ^{{MIXMONITOR_FILENAME}}"
    recorders = {
        "bench-plain": "",
        "bench-wav": f" same => n,MixMonitor({wav})\n",
        "bench-age": f" same => n,MixMonitor({wav},,{seal} && rm ^{{MIXMONITOR_FILENAME}})\n",
    }
    return "".join(
        f"exten => {extension},1,Answer()\n same => n,Read(BENCH_KEY,{prompt},1,,1,5)\n{record}"
        " same => n,Dial(PJSIP/agent,30)\n same => n,Hangup()\n"
        for extension, record in recorders.items()
    )
