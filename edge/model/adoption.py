"""A recording that somebody else made and that is taken over from a file: what is said of it, and why it may be kept.

No I/O. Everything in here came from file names, CDR rows and whoever asked, so it is bounded here, before it is stored.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final, Literal

import msgspec

#: Longest text of a person's own words, characters.
MAX_WORDS: Final = 400
#: Ends the spool name of a capture that never was in the spool.
SUFFIX: Final = ".adopted"
#: Keeps the digest of a file apart from any other.
_LABEL: Final = b"callwarden adopted file v1\n"

Basis = Literal["consent", "contract", "legitimate_interests", "public_task", "legal_obligation", "vital_interests"]
Codec = Literal["sln", "sln12", "sln16", "sln24", "sln32", "sln44", "sln48", "ulaw", "alaw"]
_Words = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_WORDS)]
_Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
#: As Asterisk makes them: a system name, seconds since 1970, a number.
_Uid = Annotated[str, msgspec.Meta(max_length=80, pattern=r"^[A-Za-z0-9._:-]*$")]
_Time = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z$")]
_Word = re.compile(r"[A-Za-z0-9_.:/ -]{1,80}")


class Grounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why recordings may be taken over; answered for by whoever asks. policy: whose recipients, purposes and retention
    hold from now on. basis: GDPR Art. 6(1). reference: where the basis is written down. evidence: where it is documented
    that people had agreed or were told. keep_names: whether file names, which hold numbers, are stored."""

    policy: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    basis: Basis
    reference: _Words
    evidence: _Words
    keep_names: bool = False


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file. name: without its folders. place: the whole path, kept until the file is gone. content: SHA-256 of the
    sound, hex. started_at: when the call was answered, UTC; started_from: what says so. number: the outside party's, as
    written. queue: the call's queue or ring group, if known."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    place: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    content: _Hex
    total_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
    codec: Codec
    rate: Literal[8000, 12000, 16000, 24000, 32000, 44100, 48000]
    channels: Literal[1, 2]
    started_at: _Time
    started_from: Literal["cdr", "name", "file"]
    direction: Literal["inbound", "outbound"] = "inbound"
    number: Annotated[str, msgspec.Meta(max_length=80)] = ""
    uniqueid: _Uid = ""
    linkedid: _Uid = ""
    repaired: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern="^[a-z_]{1,20}$")], ...], msgspec.Meta(max_length=8)
    ] = ()

    @property
    def identity(self) -> str:
        """What makes two files one: the sound, the file's name, and Asterisk's id of the call, or when it began.

        64 hex digits. Whoever has the file can compute it; without the sound nothing can be tried against it.
        """
        parts = (self.content, self.name, self.uniqueid or self.started_at)
        text = b"\0".join(part.encode("utf-8", "surrogateescape") for part in parts)
        return hashlib.sha256(_LABEL + text).hexdigest()


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file to be taken over, and on what grounds. source: `command` or the name of the standing service."""

    grounds: Grounds
    facts: Facts
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=80)] = "command"


class Known(msgspec.Struct, frozen=True):
    """What is on file about an identity. state: `new`, `begun`, `sealed`, `erased`, `given_up`; `sealed_bytes` of its
    sound are sealed and verified."""

    state: str
    recording_id: str = ""
    sealed_bytes: int = 0
    place: str = ""


def adoption_of(spool_name: str) -> bool:
    """Whether a capture of this name was taken over from a file."""
    return spool_name.endswith(SUFFIX)


def printable(text: str) -> str:
    """What may be stored of a text from outside: printable characters, the rest as question marks."""
    return "".join(char if char.isprintable() else "?" for char in text)


def plain_word(text: str) -> bool:
    """Whether a text may be named in the audit log."""
    return _Word.fullmatch(text) is not None
