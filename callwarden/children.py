"""Central as a child of the edge daemon, for people without systemd."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.errors import CallwardenError

#: How long a child may take to end after SIGTERM, seconds.
STOP_S = 10.0


@contextmanager
def central_child(config: Path) -> Iterator[None]:
    """`callwarden central run` as long as the block lasts. Two processes and two databases also on one host.

    Raises config.missing; environment.central when it ends within half a second.
    """
    if not config.exists():
        raise CallwardenError(
            "config.missing", "central has no configuration", hint="callwarden central init DIR", where=str(config)
        )
    command = [sys.executable, "-m", "callwarden", "central", "run", "--central-config", str(config)]
    child = subprocess.Popen(command)
    try:
        try:
            code = child.wait(0.5)
        except subprocess.TimeoutExpired:
            code = None
        if code is not None:
            message = f"central ended at once with exit code {code}"
            raise CallwardenError("environment.central", message, where=str(config))
        yield
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
