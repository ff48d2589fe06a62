"""What is known of one pause of one capture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Mute:
    """A pause of one capture. Offsets are bytes of the spool file.

    All bytes before `begin` lay there before Asterisk was told; at and behind `limit` everything was written after it
    had acknowledged (None until it has). `cut`: where the zeros begin, once that is known; `sealed`: all before it is
    sealed and its segment closed. Up to `dropped` the zeros were looked at and freed; before `spared` sound is dropped
    without a word (after a restart: what was in Asterisk's buffer). `failed`: the mute does not hold; `told`: that
    is on file.
    """

    begin: int
    limit: int | None = None
    cut: int | None = None
    sealed: bool = False
    dropped: int = 0
    spared: int = 0
    failed: bool = False
    told: bool = False
