"""Canonical JSON and its strict reader."""

from __future__ import annotations

import json
import struct

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from formats import canonical
from formats.errors import JsonError

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER)
    | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
    | st.text()
)
_values = st.recursive(_scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(_values)
def test_one_spelling(value: object) -> None:
    data = canonical.dumps(value)
    assert canonical.loads(data) == value
    assert canonical.dumps(canonical.loads(data)) == data
    assert canonical.loads_canonical(data) == value


@given(_values)
def test_the_quick_encoder_writes_what_the_general_one_does(value: object) -> None:
    assert canonical.dumps(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


def test_every_control_character_is_written_alike() -> None:
    text = "".join(map(chr, range(0x2100)))
    assert canonical.dumps({text[:128]: text}) == rfc8785.dumps({text[:128]: text})


def test_an_open_string_full_of_quotes_is_refused_at_once() -> None:
    with pytest.raises(JsonError):
        canonical.loads('"' + '\\"' * 500_000 + "[" * 100)


def test_rfc_8785_example() -> None:
    # RFC 8785, section 3.2.2 to 3.2.4.
    source = (
        '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        '"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals": [null, true, false]}'
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical.dumps(canonical.loads(source)) == expected.encode()


def test_members_sort_by_utf16() -> None:
    # U+1F600 comes before U+FB33 in UTF-16 although its code point is larger (RFC 8785, section 3.2.3).
    assert canonical.dumps({"\ufb33": 1, "\U0001f600": 2, "ö": 3}) == '{"ö":3,"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a":1,"a":2}', "json.duplicate"),
        (b'{"a":{"b":1,"\\u0062":2}}', "json.duplicate"),
        (b"NaN", "json.syntax"),
        (b"[Infinity]", "json.syntax"),
        (b"[1,]", "json.syntax"),
        (b"", "json.syntax"),
        (b"{} {}", "json.syntax"),
        (b"'a'", "json.syntax"),
        (b'"\xff"', "json.encoding"),
        (b"\xef\xbb\xbf{}", "json.encoding"),
        (b'"\\ud800"', "json.encoding"),
        (b"[" * 33 + b"]" * 33, "json.depth"),
        (b"[" * 100_000, "json.depth"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "json.depth"),
        (b"1" * 5000, "json.syntax"),
    ],
)
def test_strict_reader_refuses(data: bytes, code: str) -> None:
    with pytest.raises(JsonError) as caught:
        canonical.loads(data)
    assert caught.value.code == code


def test_brackets_in_strings_are_not_depth() -> None:
    text = json.dumps(["[" * 100, '"' + "{" * 100, "\\" * 3])
    assert canonical.loads(text) == json.loads(text)


@pytest.mark.parametrize("data", [b'{"b":1,"a":2}', b"1.0", b"[1, 2]", b'"\\u0061"', b"1e2", b"{}\n"])
def test_other_spellings_are_not_canonical(data: bytes) -> None:
    with pytest.raises(JsonError, match="canonical"):
        canonical.loads_canonical(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {1: 2}, {"a": b"x"}, object()])
def test_values_without_a_form(value: object) -> None:
    with pytest.raises(JsonError):
        canonical.dumps(value)


@given(st.binary(min_size=8, max_size=8))
def test_every_double_reads_back(raw: bytes) -> None:
    number = struct.unpack("<d", raw)[0]
    if number == number and abs(number) != float("inf"):
        assert float(canonical.dumps(number)) == number
