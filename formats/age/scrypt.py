"""The passphrase recipient type (C2SP age, "The scrypt recipient type"): identity files and exports, never segments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from formats.age.primitives import b64decode, b64encode, check_body, unwrap, wrap
from formats.age.stanza import RandBytes, Stanza, check_args
from formats.errors import HeaderError

KIND = "scrypt"
_LABEL = b"age-encryption.org/v1/scrypt"
_SALT = 16
_WORK_FACTOR = re.compile(r"[1-9][0-9]*\Z", re.ASCII)
#: log2 of the work age itself accepts at most when reading; 22 is 4 GiB of memory.
MAX_WORK_FACTOR = 22
#: log2 of the work age itself spends when writing; 18 is 256 MiB and about a second.
WORK_FACTOR = 18


def _key(passphrase: str, salt: bytes, work_factor: int) -> bytes:
    kdf = Scrypt(salt=_LABEL + salt, length=32, n=1 << work_factor, r=8, p=1)
    return kdf.derive(passphrase.encode("utf-8"))


@dataclass(frozen=True)
class ScryptRecipient:
    """Who knows a passphrase. Must be a header's only recipient. `work_factor` is log2 of scrypt's N."""

    passphrase: str
    work_factor: int = WORK_FACTOR

    @property
    def post_quantum(self) -> bool:
        """True: nothing asymmetric is involved."""
        return True

    def wrap(self, file_key: bytes, randbytes: RandBytes) -> Stanza:
        """A stanza under this passphrase; takes 16 random bytes."""
        salt = randbytes(_SALT)
        args = (KIND, b64encode(salt), str(self.work_factor))
        return Stanza(args, wrap(_key(self.passphrase, salt, self.work_factor), file_key))

    def __repr__(self) -> str:
        return "ScryptRecipient()"


@dataclass(frozen=True)
class ScryptIdentity:
    """A passphrase, and how much work a file may demand (log2 of scrypt's N) before it is refused."""

    passphrase: str
    max_work_factor: int = MAX_WORK_FACTOR

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """The file key, or None. Raises HeaderError on a malformed scrypt stanza or too much work."""
        for stanza in stanzas:
            if stanza.kind != KIND:
                continue
            check_args(stanza, 3)
            salt = b64decode(stanza.args[1])
            if len(salt) != _SALT:
                raise HeaderError("vault.header", "an scrypt salt must be 16 bytes")
            # Length first: int() of a megabyte of digits is work too.
            if _WORK_FACTOR.match(stanza.args[2]) is None or len(stanza.args[2]) > 2:
                raise HeaderError("vault.header", "an scrypt work factor must be a small decimal number")
            if (work_factor := int(stanza.args[2])) > self.max_work_factor:
                raise HeaderError("vault.header", f"the file demands scrypt work of 2^{work_factor}, which is refused")
            check_body(stanza.body)
            return unwrap(_key(self.passphrase, salt, work_factor), stanza.body)
        return None

    def __repr__(self) -> str:
        return "ScryptIdentity()"
