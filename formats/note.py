"""Signed notes, checkpoints, cosignatures and proofs of a transparency log.

C2SP signed-note, tlog-checkpoint, tlog-cosignature and tlog-proof (https://c2sp.org), with Ed25519: signature type 0x01
for the log, 0x04 for a witness, whose signature carries the time at which it saw the checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

from formats.errors import ProofError, SignatureError
from formats.keys import SigningKey, VerifyKey

ED25519 = 0x01
COSIGNATURE = 0x04
#: Signed notes promise room for 16 signatures; more than this many lines are refused unread.
MAX_SIGNATURES = 64
_NUMBER = re.compile(r"(0|[1-9][0-9]*)\Z", re.ASCII)
_DASH = "—"  # em dash


def b64(data: bytes) -> str:
    """Standard base64 with padding, as notes spell bytes."""
    return base64.b64encode(data).decode("ascii")


def unb64(text: str) -> bytes:
    """The bytes of canonical base64. Raises ProofError `audit.note`."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProofError("audit.note", "the note has malformed base64") from error
    if b64(data) != text:
        raise ProofError("audit.note", "the note has base64 that is not canonical")
    return data


def number(text: str) -> int:
    """A decimal number without leading zeroes, below 2^63. Raises ProofError `audit.note`."""
    if _NUMBER.match(text) is None or len(text) > 19 or int(text) >= 1 << 63:
        raise ProofError("audit.note", "the note has a malformed number")
    return int(text)


def _check_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() or ord(char) < 0x20 for char in name):
        raise ProofError("audit.note", "a key name must have no space and no plus sign")


@dataclass(frozen=True)
class NoteKey:
    """A named public key of one signature type: what a `vkey` string spells."""

    name: str
    kind: int
    key: VerifyKey

    def __post_init__(self) -> None:
        """Raises ProofError on a name that notes do not allow or a type that we do not verify."""
        _check_name(self.name)
        if self.kind not in (ED25519, COSIGNATURE):
            raise ProofError("audit.note", f"signature type {self.kind:#04x} is not supported")

    @property
    def key_id(self) -> bytes:
        """Four bytes: an abbreviation, not a proof."""
        material = self.name.encode() + b"\n" + bytes([self.kind]) + self.key.public
        return hashlib.sha256(material).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64(bytes([self.kind]) + self.key.public)}"

    @classmethod
    def parse(cls, vkey: str) -> NoteKey:
        """From a `vkey` string. Raises ProofError `audit.note`."""
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise ProofError("audit.note", "a vkey has three parts with plus signs between them")
        material = unb64(parts[2])
        if len(material) != 33:
            raise ProofError("audit.note", "the vkey does not hold an Ed25519 key")
        key = cls(parts[0], material[0], VerifyKey(material[1:]))
        if key.key_id.hex() != parts[1]:
            raise ProofError("audit.note", "the vkey's id is not that of its key")
        return key


@dataclass(frozen=True)
class SignatureLine:
    """One signature: the key's name and id, and what the key made."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH} {self.name} {b64(self.key_id + self.signature)}\n"


def _parse_line(line: str) -> SignatureLine:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH:
        raise ProofError("audit.note", "a signature line is malformed")
    _check_name(parts[1])
    data = unb64(parts[2])
    if len(data) < 5:
        raise ProofError("audit.note", "a signature line is too short")
    return SignatureLine(parts[1], data[:4], data[4:])


@dataclass(frozen=True)
class Note:
    """A text, its final line feed included, and signatures that nobody has verified yet."""

    text: str
    signatures: tuple[SignatureLine, ...] = ()

    @classmethod
    def parse(cls, data: str | bytes) -> Note:
        """Raises ProofError `audit.note` where `data` is not a signed note."""
        try:
            whole = data if isinstance(data, str) else data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ProofError("audit.note", "the note is not UTF-8") from error
        if any(ord(char) < 0x20 and char != "\n" for char in whole):
            raise ProofError("audit.note", "the note has a control character")
        text, gap, tail = whole.rpartition("\n\n")
        lines = tail.removesuffix("\n").split("\n")
        if not gap or not tail.endswith("\n") or len(lines) > MAX_SIGNATURES:
            raise ProofError("audit.note", "the note is not a text, an empty line and signatures")
        return cls(text + "\n", tuple(_parse_line(line) for line in lines))

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    def sign(self, name: str, key: SigningKey) -> Note:
        """With one more plain Ed25519 signature (type 0x01)."""
        if not self.text.endswith("\n"):
            raise ProofError("audit.note", "a note's text ends with a line feed")
        line = SignatureLine(name, NoteKey(name, ED25519, key.verify_key).key_id, key.sign(self.text.encode()))
        return Note(self.text, (*self.signatures, line))

    def cosign(self, name: str, key: SigningKey, timestamp: int) -> Note:
        """With one more witness cosignature (type 0x04); `timestamp` in seconds since 1970.

        Whoever calls this has verified that the checkpoint is consistent with the last one it cosigned.
        """
        key_id = NoteKey(name, COSIGNATURE, key.verify_key).key_id
        signature = timestamp.to_bytes(8, "big") + key.sign(_cosigned(self.text, timestamp))
        return Note(self.text, (*self.signatures, SignatureLine(name, key_id, signature)))

    def verify(self, keys: Collection[NoteKey]) -> dict[NoteKey, int | None]:
        """Which of `keys` signed: the time a witness states, None for a plain signature.

        Lines of unknown keys are ignored, as the specification demands. Raises ProofError `audit.signature` where a
        line of a known key does not verify, or none of `keys` signed.
        """
        known = {(key.name, key.key_id): key for key in keys}
        verified: dict[NoteKey, int | None] = {}
        for line in self.signatures:
            if (key := known.get((line.name, line.key_id))) is None or key in verified:
                continue
            try:
                verified[key] = _verify_line(self.text, key, line.signature)
            except SignatureError as error:
                raise ProofError("audit.signature", f"the signature of {key.name} does not verify") from error
        if not verified:
            raise ProofError("audit.signature", "the note is not signed by any trusted key")
        return verified


def _cosigned(text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def _verify_line(text: str, key: NoteKey, signature: bytes) -> int | None:
    if key.kind == ED25519:
        key.key.verify(signature, text.encode())
        return None
    if len(signature) != 8 + 64 or (timestamp := int.from_bytes(signature[:8], "big")) >= 1 << 63:
        raise SignatureError("auth.signature", "the cosignature is malformed")
    key.key.verify(signature[8:], _cosigned(text, timestamp))
    return timestamp
