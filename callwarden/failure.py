"""How a failure is shown: `error: WHERE: what [code]`, a hint, an exit code. Never a traceback, unless asked for."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import click

from callwarden.output import plain
from edge.errors import CallwardenError, Exit

BUG_LINE = "this is a bug in callwarden; run again with CALLWARDEN_DEBUG=1 and open an issue with what it prints"


def report(error: BaseException) -> int:
    """Print `error` on stderr and return the exit code."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        return 130  # what a shell says of SIGINT
    if os.environ.get("CALLWARDEN_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, click.ClickException):
        error.show(file=sys.stderr)
        return int(Exit.USAGE)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(Exit.BUG)
    known = translated(error)
    if known is None:
        print(f"error: {type(error).__name__}: {plain(error)} [bug]\n  hint: {BUG_LINE}", file=sys.stderr)
        return int(Exit.BUG)
    print(f"error: {shown(known)}", file=sys.stderr)
    return int(known.exit_code)


def shown(error: CallwardenError) -> str:
    """As `str(error)`, with control characters as escapes: central and the daemon may have said it, and quote callers."""
    text = plain(f"{error.where}: {error.message}" if error.where else error.message)
    return f"{text} [{plain(error.code)}]" + (f"\n  hint: {plain(error.hint)}" if error.hint else "")


def translated(error: BaseException) -> CallwardenError | None:
    """The error in the edge's words, or None for a bug. `formats` and `central` have error types of their own, told
    apart by what they carry, so that showing an error imports neither."""
    if isinstance(error, CallwardenError):
        return error
    code, message = getattr(error, "code", None), getattr(error, "message", None)
    if type(error).__module__.startswith(("formats", "central")) and isinstance(code, str) and isinstance(message, str):
        extra: dict[str, Any] = {name: str(getattr(error, name, "") or "") for name in ("hint", "where")}
        return CallwardenError(code, message, **extra)
    if isinstance(error, PermissionError):
        return CallwardenError(
            "environment.permission",
            "not allowed to open this",
            hint="run as the daemon's user, or as a member of its group",
            where=str(error.filename or ""),
        )
    if isinstance(error, OSError) and error.filename is not None:
        return CallwardenError("environment.file", error.strerror or str(error), where=str(error.filename))
    return None
