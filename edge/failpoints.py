"""Named points along the write orders where a test can kill, freeze or break the daemon.

A point is named once, at the step it stands behind: `hit("seal.payload_synced")`. In a normal run no environment
variable names one and `hit` is a comparison with None. `CALLWARDEN_FAILPOINT=name[:nth][=kill|stop|error]` arms one:
at its nth passing (default 1) the process kills itself with SIGKILL, stops with SIGSTOP, or raises OSError(EIO).
`make failpoints` lists every name found in the source.
"""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass


@dataclass
class _Armed:
    name: str
    nth: int
    action: str
    seen: int = 0


def _parse(text: str) -> _Armed | None:
    if not text:
        return None
    name, _, action = text.partition("=")
    name, _, nth = name.partition(":")
    return _Armed(name, int(nth or "1"), action or "kill")


_armed = _parse(os.environ.get("CALLWARDEN_FAILPOINT", ""))


def hit(name: str) -> None:
    """Pass the point `name`; does nothing unless the environment armed exactly this one. Raises OSError when armed so."""
    if _armed is None or _armed.name != name:
        return
    _armed.seen += 1
    if _armed.seen != _armed.nth:
        return
    if _armed.action == "error":
        raise OSError(errno.EIO, f"failpoint {name}")
    os.kill(os.getpid(), signal.SIGSTOP if _armed.action == "stop" else signal.SIGKILL)
