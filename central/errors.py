"""The one error of central: what a client reads as `application/problem+json` (RFC 9457).

Central cannot share the edge's error class (edge and central never import each other), but it keeps its words: code,
what, where, hint. Nothing secret and no stack trace ever goes into one.
"""

from __future__ import annotations

from typing import Any


class CentralError(Exception):
    """A request, a configuration or a file that central refuses.

    code: dotted lower-case name, family first; message: one sentence; status: HTTP status it is answered with; where:
    field, id or path; hint: what to do; extra: further members of the problem document (JSON-able); `retry_after`, in seconds, becomes a
    header too.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 400,
        where: str = "",
        hint: str = "",
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.where = where
        self.hint = hint
        self.extra = extra or {}

    def document(self) -> dict[str, Any]:
        """The members of the problem document."""
        return {
            "type": f"urn:callwarden:problem:{self.code}",
            "title": self.message,
            "status": self.status,
            "code": self.code,
            "what": self.message,
            "where": self.where,
            "hint": self.hint,
            **self.extra,
        }

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text} [{self.code}]" + (f"\n  hint: {self.hint}" if self.hint else "")
