"""The ASCII armor (C2SP age, "ASCII armor"): strict PEM, read whole. For keys and exports handed over as text."""

from __future__ import annotations

import base64
import binascii

from formats.errors import ArmorError

BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
_END = b"-----END AGE ENCRYPTED FILE-----"
_COLUMNS = 64
_SPACE = b" \t\r\n"


def is_armored(data: bytes) -> bool:
    """Whether `data` begins, after white space, as armor does."""
    return data.lstrip(_SPACE).startswith(BEGIN)


def armor(data: bytes) -> bytes:
    """`data` as PEM with line feeds."""
    text = base64.b64encode(data)
    lines = [text[i : i + _COLUMNS] for i in range(0, len(text), _COLUMNS)]
    return b"\n".join([BEGIN, *lines, _END, b""])


def dearmor(data: bytes) -> bytes:
    """The bytes inside the armor. Raises ArmorError on anything but canonical PEM with white space around it.

    Line feeds and CR LF are both accepted, as the reference does.
    """
    lines = [line.removesuffix(b"\r") for line in data.strip(_SPACE).split(b"\n")]
    if len(lines) < 2 or lines[0] != BEGIN or lines[-1] != _END:
        raise ArmorError("vault.armor", "the armor's first or last line is missing or malformed")
    body = lines[1:-1]
    if any(len(line) != _COLUMNS for line in body[:-1]) or (body and not 0 < len(body[-1]) <= _COLUMNS):
        raise ArmorError("vault.armor", "the armor's lines must have 64 columns, the last one fewer")
    text = b"".join(body)
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ArmorError("vault.armor", "the armor holds malformed base64") from error
    if base64.b64encode(raw) != text:
        raise ArmorError("vault.armor", "the armor's base64 is not canonical")
    return raw
