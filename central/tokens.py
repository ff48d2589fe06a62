"""Bearer tokens: made, looked up, revoked. What is stored is a token's SHA-256; its first 16 hex digits are its public id."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from central.conn import Conn, Row
from central.errors import CentralError
from central.log import OwnLog
from central.revocations import note_token
from formats.ids import format_time, parse_time
from formats.keys import b64url

#: Begins every token, so that scanners for secrets find one that lies about.
PREFIX: Final = "cwt1."
#: Characters of a label.
LONGEST_LABEL: Final = 200
_ID: Final = 16
_COLUMNS: Final = "token_sha256, label, role, created_at, expires_at, revoked_at"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token that is known: whatever may be shown of it. `revoked_at`, `expires_at`: None where it is not."""

    id: str
    label: str
    role: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None

    def answer(self) -> dict[str, Any]:
        """As lists show it."""
        return {
            "id": self.id,
            "label": self.label,
            "role": self.role,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
        }

    def over(self, now: str) -> str | None:
        """Why it opens nothing (any more), in words; None where it does."""
        if self.revoked_at is not None:
            return f"the token was revoked at {self.revoked_at}"
        if self.expires_at is not None and self.expires_at <= now:
            return f"the token ended at {self.expires_at}"
        return None


def token_hash(token: str) -> str:
    """How bearer and enrolment tokens are stored: plain SHA-256 suffices for 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def make(
    conn: Conn, log: OwnLog, now: str, role: str, label: str, days: int | None, by: str | None
) -> tuple[str, TokenRow]:
    """Job: a fresh token, shown this once, and its row. `days`: its life, None: until it is revoked; `by`: the id of the token
    that asked, None on central's own host. Raises CentralError usage.field for a label that no list could show."""
    if not 0 < len(label) <= LONGEST_LABEL or not label.isprintable():
        raise CentralError(
            "usage.field", f"a label is 1 to {LONGEST_LABEL} characters that can be printed", where="label"
        )
    token = PREFIX + b64url(secrets.token_bytes(32))
    expires = None if days is None else format_time(parse_time(now) + timedelta(days=days))
    digest = token_hash(token)
    conn.execute(
        "INSERT INTO admin_token(token_sha256, label, role, created_at, expires_at) VALUES (?,?,?,?,?)",
        (digest, label, role, now, expires),
    )
    made = TokenRow(digest[:_ID], label, role, now, expires, None)
    # Without its label, which may name a person: nothing is taken out of this log again.
    log.append(conn, now, "token.made", {"id": made.id, "role": role, "expires_at": expires, "by": by})
    return token, made


def find(conn: Conn, token: str) -> TokenRow | None:
    """Job: the row of a token, also of one that is over. Whoever can time the index learns digits of a hash, not of a token."""
    digest = token_hash(token)
    row = conn.execute(f"SELECT {_COLUMNS} FROM admin_token WHERE token_sha256=?", (digest,)).fetchone()  # noqa: S608
    return None if row is None else _read(row)


def listed(conn: Conn) -> list[TokenRow]:
    """Job: every token, oldest first."""
    rows = conn.execute(f"SELECT {_COLUMNS} FROM admin_token ORDER BY created_at, token_sha256")  # noqa: S608
    return [_read(row) for row in rows]


def revoke(
    conn: Conn, log: OwnLog, now: str, token_id: str, by: str | None, keeper: Path, unnoted: Callable[[str], None]
) -> TokenRow:
    """Job: the token opens nothing from the commit on; a repeat changes nothing. keeper: beside it revocations are listed
    (`central.revocations`); unnoted: is told why this one is not. Raises CentralError not_found.token."""
    found = next((one for one in listed(conn) if one.id == token_id), None)
    if found is None:
        raise CentralError(
            "not_found.token",
            "there is no token with this id",
            status=404,
            where=token_id[:64],
            hint="callwarden central token list; of a token that you hold: its SHA-256, the first 16 digits",
        )
    if found.revoked_at is not None:
        return found
    if (why := note_token(keeper, found.id, found.role, now)) is not None:
        unnoted(why)
    conn.execute("UPDATE admin_token SET revoked_at=? WHERE substr(token_sha256, 1, 16)=?", (now, token_id))
    log.append(conn, now, "token.revoked", {"id": token_id, "role": found.role, "by": by})
    return TokenRow(found.id, found.label, found.role, found.created_at, found.expires_at, now)


def _read(row: Row) -> TokenRow:
    digest, *rest = row
    return TokenRow(str(digest)[:_ID], *rest)
