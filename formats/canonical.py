"""Canonical JSON (RFC 8785) and a strict reader: what is signed or hashed has exactly one spelling."""

from __future__ import annotations

import json
import re
from types import NoneType
from typing import Any, NoReturn

import msgspec
import rfc8785

from formats.errors import JsonError

#: Deeper nesting than this is refused before it is parsed; our own documents stay under 10.
MAX_DEPTH = 32
#: Integers beyond this are not exact in every JSON implementation (RFC 8785, section 3.2.2.3).
MAX_INTEGER = 2**53 - 1
# Taken out first, so that brackets inside them do not count. Possessive, and without the need of an end: linear.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_encode = msgspec.json.Encoder(order="sorted").encode


def dumps(value: Any) -> bytes:
    """RFC 8785 bytes of `value`.

    Raises JsonError `json.value` for what has none: NaN, integers beyond 2^53 - 1, other types. A double beyond 2^53 is
    written, as RFC 8785 demands, but `loads_canonical` will not take it back: our documents have no such numbers.
    """
    try:
        # With sorted keys msgspec writes the same bytes for plain values, at a tenth of the general encoder's cost.
        return _encode(value) if _plain(value) else rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        raise JsonError("json.value", f"the value has no canonical form: {error}") from error


def _plain(value: Any) -> bool:
    """Whether `value` is of text, booleans, exact integers and null below members with ASCII names, in which code points
    sort as UTF-16 does; numbers with a fraction are written by the general encoder."""
    kind = type(value)
    if kind is dict:
        return all(type(name) is str and name.isascii() and _plain(inner) for name, inner in value.items())
    if kind is list or kind is tuple:
        return all(map(_plain, value))
    if kind is int:
        return bool(-MAX_INTEGER <= value <= MAX_INTEGER)
    return kind in (str, bool, NoneType)


def _refuse_constant(name: str) -> NoReturn:
    raise JsonError("json.syntax", f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonError("json.duplicate", "an object has the same member twice")
    return members


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        if bracket in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise JsonError("json.depth", f"the JSON is nested deeper than {MAX_DEPTH}")
        else:
            depth -= 1


def loads(data: bytes | str) -> Any:
    """The value of strict JSON.

    Raises JsonError: `json.encoding` (not UTF-8, a byte order mark, a lone surrogate), `json.duplicate`, `json.depth`,
    `json.syntax` (NaN and Infinity included).
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError("json.encoding", "the JSON is not UTF-8") from error
    if text.startswith("\ufeff"):
        raise JsonError("json.encoding", "the JSON begins with a byte order mark")
    _check_depth(text)
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise JsonError("json.syntax", "the text is not JSON") from error
    # An escape such as \ud800 gives a string that no encoder can write again.
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise JsonError("json.encoding", "the JSON has half of a surrogate pair") from error
    return value


def loads_canonical(data: bytes) -> Any:
    """The value of bytes in RFC 8785 form. Raises JsonError, `json.canonical` for another spelling of a value."""
    value = loads(data)
    if dumps(value) != data:
        raise JsonError("json.canonical", "the JSON is not in its canonical form")
    return value
