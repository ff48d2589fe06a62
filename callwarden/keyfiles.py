"""Key files of people and edges on disk: written 0600 and never over another, read in each shape we have written."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from callwarden.passphrase import passphrase_for
from edge.errors import CallwardenError
from formats.age import (
    HybridIdentity,
    ScryptIdentity,
    ScryptRecipient,
    X25519Identity,
    armor,
    dearmor,
    decrypt_file,
    encrypt_file,
    is_armored,
    parse_identities,
    read_header,
)
from formats.errors import FormatError, NoMatchError
from formats.keys import SigningKey, dump_key, load_key
from formats.keyset import KeySet

#: log2 of the scrypt work an identity file may demand: 20 is 1 GiB of memory, four times what `age` itself writes.
MAX_WORK_FACTOR: Final = 20
_AGE: Final = b"age-encryption.org/"


def refuse_existing(path: Path) -> None:
    """Raises environment.exists where there is something of that name."""
    if os.path.lexists(path):
        hint = "take another name, or move the file away"
        raise CallwardenError("environment.exists", "there is a file already", hint=hint, where=str(path))


def write_new(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Create `path` with `data`, durable. Raises environment.exists: a key is never written over."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        refuse_existing(path)
        raise
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def new_identity() -> X25519Identity:
    """A fresh age identity."""
    return X25519Identity.generate(secrets.token_bytes(32))


def new_hybrid_identity() -> HybridIdentity:
    """A fresh post-quantum age identity."""
    return HybridIdentity.generate(secrets.token_bytes(32))


def locked(content: bytes, passphrase: str) -> bytes:
    """An identity file under a passphrase: armored age (scrypt) that `age -d` opens too, and takes as `-i`."""
    recipient = ScryptRecipient(passphrase)
    return armor(b"".join(encrypt_file(io.BytesIO(content), [recipient], randbytes=secrets.token_bytes)))


def identity_text(identity: X25519Identity | HybridIdentity, made: datetime, what: str) -> bytes:
    """An identity file as `age-keygen` writes it, with one more comment: what the key is for."""
    stamp = made.isoformat(timespec="seconds")
    return f"# {what}\n# created: {stamp}\n# public key: {identity.recipient()}\n{identity}\n".encode()


def read_identities(
    path: Path, passphrase: Callable[[Path], str] = passphrase_for
) -> list[X25519Identity | HybridIdentity]:
    """The identities in a file; `passphrase` is asked where the file is under one. Raises environment.file, recipient.*,
    usage.passphrase, auth.passphrase (it is the wrong one)."""
    data = _read(path)
    if is_armored(data) or data.startswith(_AGE):
        data = _unlocked(path, data, passphrase)
    try:
        return parse_identities(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise CallwardenError("recipient.malformed", "not an age identity file", where=str(path)) from error
    except FormatError as error:
        hint = "a file with a line AGE-SECRET-KEY-1…, as `callwarden key new` or `age-keygen` make it"
        raise CallwardenError(error.code, error.message, hint=hint, where=str(path)) from error


def _unlocked(path: Path, data: bytes, passphrase: Callable[[Path], str]) -> bytes:
    try:
        plain = dearmor(data) if is_armored(data) else data
        if [one.kind for one in read_header(io.BytesIO(plain)).stanzas] != ["scrypt"]:
            raise FormatError("recipient.malformed", "an age file that is not under a passphrase")
        return b"".join(decrypt_file(plain, [ScryptIdentity(passphrase(path), MAX_WORK_FACTOR)]))
    except NoMatchError as error:
        hint = "type it again; there is no way to open the file without it"
        raise CallwardenError("auth.passphrase", "this is not the passphrase", hint=hint, where=str(path)) from error
    except FormatError as error:
        hint = "an identity file is made by `callwarden key new --passphrase` or `age -p`"
        raise CallwardenError("recipient.malformed", error.message, hint=hint, where=str(path)) from error


def new_signing_key() -> SigningKey:
    """A fresh Ed25519 key."""
    return SigningKey.from_seed(secrets.token_bytes(32))


def jwk_text(key: SigningKey) -> bytes:
    """A signing key as a private JWK: what key files hold."""
    return dump_key(key)


def read_signing_key(path: Path) -> SigningKey:
    """A signing key: private JWK, 32 raw bytes, or 64 hex digits. Raises auth.key, environment.file."""
    data = _read(path)
    try:
        if len(data) == 32:
            return SigningKey.from_seed(data)
        if len(text := data.strip()) == 64:
            return SigningKey.from_seed(bytes.fromhex(text.decode("ascii")))
        return load_key(data)
    except (FormatError, ValueError) as error:
        hint = "a private JWK, or a 32-byte Ed25519 seed, raw or in hex"
        raise CallwardenError("auth.key", "not an Ed25519 key file", hint=hint, where=str(path)) from error


def read_trust(path: Path) -> KeySet:
    """The key set of a trust file. Raises auth.keyset, environment.file."""
    try:
        return KeySet.load(_read(path))
    except FormatError as error:
        hint = "a key set as `callwarden init` writes it (trust.json)"
        raise CallwardenError("auth.keyset", error.message, hint=hint, where=str(path)) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise CallwardenError("environment.file", f"cannot be read: {reason}", where=str(path)) from error
