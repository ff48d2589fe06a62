"""Bech32 as BIP 173 defines it, without its length limit, which is how age spells keys (C2SP age)."""

from __future__ import annotations

from formats.errors import KeyFormatError

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"  # BIP 173, "Bech32"
_VALUE = {char: value for value, char in enumerate(_CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)  # BIP 173, "Checksum"
_CHECKSUM = 6


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check


def _expand(hrp: str) -> list[int]:
    return [ord(char) >> 5 for char in hrp] + [0] + [ord(char) & 31 for char in hrp]


def _regroup(data: bytes | list[int], width: int, to: int, *, pad: bool) -> list[int]:
    """Regroup integers of `width` bits into integers of `to` bits."""
    pending = bits = 0
    out = []
    for value in data:
        pending = pending << width | value
        bits += width
        while bits >= to:
            bits -= to
            out.append(pending >> bits & ((1 << to) - 1))
        pending &= (1 << bits) - 1
    if pad:
        if bits:
            out.append(pending << (to - bits))
    elif bits >= width or pending:
        raise KeyFormatError("recipient.bech32", "the key's padding is wrong")
    return out


def encode(hrp: str, data: bytes) -> str:
    """Bech32 of `data` under the human-readable part `hrp`, in the case `hrp` has."""
    lower = hrp.lower()
    values = _regroup(data, 8, 5, pad=True)
    check = _polymod(_expand(lower) + values + [0] * _CHECKSUM) ^ 1
    values += [check >> 5 * (_CHECKSUM - 1 - i) & 31 for i in range(_CHECKSUM)]
    text = lower + "1" + "".join(_CHARSET[value] for value in values)
    return text if hrp == lower else text.upper()


def decode(text: str) -> tuple[str, bytes]:
    """The human-readable part, in the case it was written in, and the data.

    Raises KeyFormatError `recipient.bech32` on mixed case, a foreign character or a wrong checksum.
    """
    lower = text.lower()
    if not text.isascii() or text not in (lower, text.upper()):
        raise KeyFormatError("recipient.bech32", "the key mixes upper and lower case, or is not ASCII")
    split = lower.rfind("1")
    if split < 1 or len(lower) - split - 1 < _CHECKSUM:
        raise KeyFormatError("recipient.bech32", "the text is not Bech32")
    hrp = lower[:split]
    if any(not 33 <= ord(char) <= 126 for char in hrp):
        raise KeyFormatError("recipient.bech32", "the key's prefix has a character that Bech32 does not allow")
    try:
        values = [_VALUE[char] for char in lower[split + 1 :]]
    except KeyError:
        raise KeyFormatError("recipient.bech32", "the key has a character that Bech32 does not use") from None
    if _polymod(_expand(hrp) + values) != 1:
        raise KeyFormatError("recipient.bech32", "the key's checksum is wrong: a character was lost or changed")
    return text[:split], bytes(_regroup(values[:-_CHECKSUM], 5, 8, pad=False))
