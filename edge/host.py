"""What the daemon asks of and tells its host: findings that forbid a start, secrets, cores, systemd."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from edge.config import Finding
from edge.errors import CallwardenError

log = structlog.get_logger("edge")

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def refuse_core_dumps() -> None:
    """Plaintext and keys pass through this memory: no core file, no ptrace by others of the same id."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def refuse(what: str, findings: Sequence[Finding]) -> None:
    """Refuse to start where the promise cannot be kept; say what was waived. Raises CallwardenError of the first error."""
    errors = []
    for finding in findings:
        if finding.severity == "error":
            errors.append(finding)
        else:
            log.warning(finding.message, about=what, code=finding.code, where=finding.where, severity=finding.severity)
    if errors:
        first = errors[0]
        others = "".join(f"\n{f.where}: {f.message} [{f.code}]\n  hint: {f.hint}" for f in errors[1:])
        raise CallwardenError(first.code, first.message, hint=first.hint + others, where=first.where)


def address(text: str) -> tuple[str, int]:
    """(host, port) of "host:port"; brackets around an IPv6 host go."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def secret(path: Path) -> str:
    """A secret from its own file. Raises CallwardenError config.secret_mode, config.secret_missing."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o007:
            raise CallwardenError(
                "config.secret_mode", "this secret can be read by everybody", where=str(path), hint=f"chmod 600 {path}"
            )
        return path.read_text().strip()
    except OSError as error:
        raise CallwardenError(
            "config.secret_missing",
            f"cannot read: {error.strerror}",
            where=str(path),
            hint="`callwarden init` makes it",
        ) from error


def free_bytes(folder: Path) -> int:
    """What can still be written there; 0 where nobody can say."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def notify_systemd(state: str) -> None:
    """sd_notify(3), when systemd asked for it."""
    where = os.environ.get("NOTIFY_SOCKET")
    if not where:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + where[1:] if where.startswith("@") else where)
        sock.send(state.encode())
