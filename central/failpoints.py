"""Named points along central's write orders where a test can kill it (docs/invariants.md).

`CALLWARDEN_FAILPOINT=name[:nth]` arms one: at its nth passing (default 1) the process ends by SIGKILL. The edge's are in
`edge.failpoints`; neither side imports the other.
"""

from __future__ import annotations

import os
import signal

_name, _, _nth = os.environ.get("CALLWARDEN_FAILPOINT", "").partition(":")
_left = [int(_nth or "1") if _nth.isdecimal() or not _nth else 0]


def hit(name: str) -> None:
    """Pass the point `name`; in a normal run no variable names one."""
    if name != _name:
        return
    _left[0] -= 1
    if _left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
