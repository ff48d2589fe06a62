"""The teller of the demo: a line is printed with a tick only after what it claims was looked at and found true."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import time
from collections.abc import Callable
from typing import TextIO, TypeVar

T = TypeVar("T")

_WIDTH = 110


class ClaimFailed(Exception):
    """A claim of the story that did not hold. `claim`: its words; `seen`: what was found instead."""

    def __init__(self, claim: str, seen: str) -> None:
        super().__init__(f"{claim} -- {seen}" if seen else claim)
        self.claim = claim
        self.seen = seen


class Story:
    """Tells acts and claims on a terminal (in colour) or into a log (plain)."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._colour = out.isatty()
        unicode = (getattr(out, "encoding", None) or "").lower().replace("-", "") == "utf8"
        self._tick, self._cross, self._dot = ("✓", "✗", "·") if unicode else ("ok", "FAILED", "-")
        self._began = time.monotonic()
        self.claims = 0

    def act(self, title: str) -> None:
        """A heading, with the seconds since the story began."""
        self._line(f"\n[{time.monotonic() - self._began:5.1f} s] {title}", "1")

    def tell(self, text: str) -> None:
        """What happens now; claims nothing."""
        self._wrapped(f"  {self._dot} ", text, "2")

    def plain(self, text: str) -> None:
        """Lines as they are."""
        self._line(text, "")

    def claim(self, text: str, held: object, seen: object = "") -> None:
        """Print `text` with a tick. seen: the evidence, printed behind it.

        Raises ClaimFailed, after a line with a cross, when it did not hold.
        """
        evidence = f" ({seen})" if str(seen) else ""
        if not held:
            self._wrapped(f"  {self._cross} ", text + evidence, "31")
            raise ClaimFailed(text, str(seen))
        self.claims += 1
        self._wrapped(f"  {self._tick} ", text + evidence, "32")

    def failed(self, text: str) -> None:
        """Why the story ends here."""
        self._line(f"\nFAILED: {text}", "31")

    def _wrapped(self, mark: str, text: str, colour: str) -> None:
        lines = textwrap.wrap(text, _WIDTH - len(mark), break_long_words=False, break_on_hyphens=False) or [""]
        shown = f"\x1b[{colour}m{mark}\x1b[0m" if self._colour else mark
        self._out.write(shown + f"\n{' ' * len(mark)}".join(lines) + "\n")
        self._out.flush()

    def _line(self, text: str, colour: str) -> None:
        self._out.write(f"\x1b[{colour}m{text}\x1b[0m\n" if self._colour and colour else f"{text}\n")
        self._out.flush()


async def soon(look: Callable[[], T], within: float, every: float = 0.1) -> T:
    """What `look` (run in a thread) gives once it is true; its last answer when the seconds are over."""
    end = time.monotonic() + within
    while True:
        found = await asyncio.to_thread(look)
        if found or time.monotonic() > end:
            return found
        await asyncio.sleep(every)
