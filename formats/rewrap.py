"""The statement that goes with a further header of a stored segment: who made it, for whom, in place of which.

A header is made where the identity is, which is not where it is stored; and whoever stores it cannot tell whether it opens,
since it holds no identity. So it stands on the signature of a person who answers for it. Compact JWS, `typ`
`callwarden-rewrap+json`, by a key of role `dpo`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from formats import canonical
from formats.errors import FormatError, SignatureError
from formats.ids import is_id, parse_time
from formats.jws import sign_compact, verify_compact
from formats.keys import SigningKey
from formats.keyset import KeyEntry, KeySet

TYP = "callwarden-rewrap+json"
#: A header longer than this is refused; it holds a dozen post-quantum recipients, and leaves room in a request of 64 KiB.
MAX_HEADER = 32 * 1024


class RewrapClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is signed. `version` is the new header's number, one more than the one it replaces; `policy` the one whose
    recipients these are; `key_id` (hex) that of the file key, which stays; `header_sha256` (hex) of the header itself."""

    edge_id: str
    recording_id: str
    segment_id: str
    number: int
    version: int
    suite: str
    policy: str
    recipients: tuple[str, ...]
    key_id: str
    header_sha256: str
    at: str


@dataclass(frozen=True)
class VerifiedRewrap:
    """A statement whose signature was checked, and whose key made it."""

    claims: RewrapClaims
    signer: KeyEntry


def sign_rewrap(claims: RewrapClaims, key: SigningKey) -> str:
    """The statement as a compact JWS."""
    return sign_compact(canonical.dumps(msgspec.to_builtins(claims)), key, key.kid, TYP)


def verify_rewrap(statement: str, keys: KeySet) -> VerifiedRewrap:
    """Raises SignatureError auth.*, FormatError command.rewrap where the claims are no such statement."""
    verified = verify_compact(statement, keys, TYP, "dpo")
    try:
        claims = msgspec.convert(canonical.loads(verified.payload), RewrapClaims)
        parse_time(claims.at)
    except (msgspec.ValidationError, FormatError) as error:
        raise SignatureError("command.rewrap", f"the statement is malformed: {error}") from error
    if not (is_id(claims.recording_id) and is_id(claims.segment_id)):
        raise SignatureError("command.rewrap", "the statement names no recording and segment")
    return VerifiedRewrap(claims, verified.signer)
