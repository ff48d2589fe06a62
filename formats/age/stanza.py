"""One recipient stanza of an age header, and what recipients and identities are to the header."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from formats.age.primitives import b64encode
from formats.errors import HeaderError

#: `randbytes(n)` gives n unpredictable bytes; a caller outside this package passes `secrets.token_bytes`.
RandBytes = Callable[[int], bytes]
_COLUMNS = 64


@dataclass(frozen=True)
class Stanza:
    """Arguments (the first is the type) and body."""

    args: tuple[str, ...]
    body: bytes

    @property
    def kind(self) -> str:
        """The first argument."""
        return self.args[0]

    def encode(self) -> bytes:
        """The stanza's lines; the body always ends with a line shorter than 64 columns, which may be empty."""
        text = b64encode(self.body)
        lines = [text[i : i + _COLUMNS] for i in range(0, len(text), _COLUMNS)]
        if not lines or len(lines[-1]) == _COLUMNS:
            lines.append("")
        return ("-> " + " ".join(self.args) + "\n" + "\n".join(lines) + "\n").encode("ascii")


class Recipient(Protocol):
    """Who a file key is wrapped for."""

    @property
    def post_quantum(self) -> bool:
        """Whether a quantum computer leaves the wrap standing; kinds that differ are never mixed in one header."""
        ...

    def wrap(self, file_key: bytes, randbytes: RandBytes) -> Stanza:
        """A stanza that holds `file_key`."""
        ...


class Identity(Protocol):
    """Who can open stanzas."""

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """The file key, or None where no stanza is for this identity. Raises HeaderError on a malformed one."""
        ...


def check_args(stanza: Stanza, count: int) -> None:
    """Raises HeaderError unless the stanza has `count` arguments, its type included."""
    if len(stanza.args) != count:
        raise HeaderError("vault.header", f"a stanza of type {stanza.kind} must have {count} arguments")
