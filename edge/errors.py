"""The one error of the edge daemon and the command line.

Every failure that a person may read is a `CallwardenError`: what failed, where, whether trying again can help, and
what to do about it. Adapters translate their neighbour's exceptions at their border and chain the cause.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command `callwarden` (docs/cli.md lists them)."""

    DONE = 0
    BUG = 1
    USAGE = 2
    CONFIG = 3
    UNREACHABLE = 4
    NOT_FOUND = 5
    REFUSED = 6
    UNVERIFIED = 7
    ENVIRONMENT = 8
    PENDING = 75


#: Family of an error code (the part before the first dot) to exit code. A full code may override its family.
EXIT_OF: dict[str, Exit] = {
    "config": Exit.CONFIG,
    "policy": Exit.CONFIG,
    "prompt": Exit.CONFIG,
    "recipient": Exit.CONFIG,
    "not_found": Exit.NOT_FOUND,
    "calls": Exit.REFUSED,
    "calls.not_found": Exit.NOT_FOUND,
    "calls.unreachable": Exit.UNREACHABLE,
    "calls.pause_late": Exit.PENDING,
    "command": Exit.REFUSED,
    "incident": Exit.REFUSED,
    "adopt": Exit.REFUSED,
    "auth": Exit.REFUSED,
    "auth.passphrase": Exit.ENVIRONMENT,
    "json": Exit.UNVERIFIED,
    "receipt": Exit.UNVERIFIED,
    "certificate": Exit.UNVERIFIED,
    "certificate.pending": Exit.PENDING,
    "audit": Exit.UNVERIFIED,
    "vault": Exit.UNVERIFIED,
    "sync": Exit.UNREACHABLE,
    "daemon": Exit.UNREACHABLE,
    "central": Exit.UNREACHABLE,
    "central.bug": Exit.BUG,
    "spool": Exit.ENVIRONMENT,
    "journal": Exit.ENVIRONMENT,
    "ami": Exit.ENVIRONMENT,
    "agi": Exit.ENVIRONMENT,
    "environment": Exit.ENVIRONMENT,
    "keeper": Exit.ENVIRONMENT,
    "usage": Exit.USAGE,
    "backup": Exit.UNVERIFIED,
    "export": Exit.UNVERIFIED,
    "register": Exit.CONFIG,
    "backup.place": Exit.ENVIRONMENT,
    "backup.busy": Exit.ENVIRONMENT,
    "restore": Exit.ENVIRONMENT,
    "restore.pending": Exit.PENDING,
}


class CallwardenError(Exception):
    """What failed, where, and what to do.

    code: dotted lower-case name, family first (`config.unknown_key`); message: one sentence; hint: what to do;
    retryable: whether the same call may succeed later; where: file:line, field, id or address.
    """

    def __init__(self, code: str, message: str, *, hint: str = "", retryable: bool = False, where: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retryable = retryable
        self.where = where

    @property
    def exit_code(self) -> Exit:
        """The exit code of the command that ends with this error."""
        return EXIT_OF.get(self.code) or EXIT_OF.get(self.code.split(".", 1)[0], Exit.BUG)

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text} [{self.code}]" + (f"\n  hint: {self.hint}" if self.hint else "")
