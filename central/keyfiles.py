"""Secret files of central: written once, 0600, never overwritten."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from central.errors import CentralError
from formats.credentials import is_away, too_open
from formats.errors import FormatError
from formats.keys import SigningKey, dump_key, load_key


def write_new(path: Path, content: bytes, mode: int = 0o600) -> bool:
    """Write a file that must not exist, synced with its folder; False (and nothing changed) when it does."""
    temp = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        try:
            os.link(temp, path)  # unlike rename, link refuses an existing name
        except FileExistsError:
            return False
    finally:
        temp.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def make_key(path: Path) -> bool:
    """A new Ed25519 key file unless one is there, or systemd brings it; whether it was made."""
    if is_away(path):
        return False
    return write_new(path, dump_key(SigningKey.from_seed(secrets.token_bytes(32))))


def read_key(path: Path) -> SigningKey:
    """The signing key of a file that only its owner may read. Raises CentralError config.key."""
    try:
        if too_open(path, path.stat().st_mode, os.environ):
            raise CentralError("config.key", "others may read this secret", where=str(path), hint=f"chmod 600 {path}")
        return load_key(path.read_bytes())
    except FileNotFoundError:
        hint = "LoadCredential= in the unit brings it" if is_away(path) else "run `callwarden central init`"
        raise CentralError("config.key", "there is no such key", where=str(path), hint=hint) from None
    except (OSError, FormatError) as error:
        raise CentralError("config.key", str(error), where=str(path)) from error
