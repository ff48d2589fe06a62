"""Both suites through the one interface: every length that matters, every way to damage a payload or a header."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterator
from secrets import token_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.age import HybridIdentity, X25519Identity
from formats.errors import (
    AgeError,
    FormatError,
    HeaderError,
    KeyFormatError,
    MacError,
    NoMatchError,
    PayloadError,
    SealError,
    SuiteError,
)
from formats.place import Place
from formats.suites import BLOCK, SUITES, TAG, Suite, suite_of

_RANDOM = random.Random(11)
PLAIN = _RANDOM.randbytes(4 * 65536)
PLACE = Place("ab" * 16, "cd" * 16)
ELSEWHERE = (Place("ab" * 16, "ce" * 16), Place("ac" * 16, "cd" * 16))
X25519, HYBRID = X25519Identity.generate(bytes([7]) * 32), HybridIdentity.generate(bytes([8]) * 32)
both = pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))


def keys(suite: Suite) -> tuple[bytes, bytes]:
    return bytes(range(suite.file_key)), bytes(range(100, 100 + suite.salt))


def sealed(suite: Suite, plain: bytes) -> bytes:
    return b"".join(suite.write(*keys(suite), PLACE, io.BytesIO(plain)))


def opened(suite: Suite, payload: bytes, released: list[bytes] | None = None, place: Place = PLACE) -> bytes:
    parts: list[bytes] = [] if released is None else released
    parts.extend(suite.read(keys(suite)[0], place, io.BytesIO(payload)))
    return b"".join(parts)


def lengths(suite: Suite) -> Iterator[int]:
    """Around the ends of chunks, and of what `write` reads at a time."""
    for end in sorted({*(n * suite.chunk for n in range(4)), BLOCK, 2 * BLOCK}):
        yield from (n for n in (end - 1, end, end + 1) if n >= 0)


def chunks_of(suite: Suite, payload: bytes) -> tuple[bytes, list[bytes]]:
    body = payload[suite.prefix :]
    return payload[: suite.prefix], [body[at : at + suite.enc_chunk] for at in range(0, len(body), suite.enc_chunk)]


@both
def test_every_length(suite: Suite) -> None:
    for length in lengths(suite):
        payload = sealed(suite, PLAIN[:length])
        assert len(payload) == suite.payload_size(length)
        assert len(chunks_of(suite, payload)[1]) == suite.chunk_count(length)
        assert opened(suite, payload) == PLAIN[:length]


@both
def test_what_the_suites_call_a_last_chunk(suite: Suite) -> None:
    sealer = suite.sealer(*keys(suite), PLACE)
    assert len(sealer.prefix) == suite.prefix
    whole, short = bytes(suite.chunk), bytes(suite.chunk - 1)
    assert len(sealer.seal(3, whole, last=False)) == suite.enc_chunk
    assert len(sealer.seal(3, short, last=True)) == suite.enc_chunk - 1
    for plain in (short, b"", whole + b"x"):
        with pytest.raises(SealError):
            sealer.seal(0, plain, last=False)
    for plain in (whole + b"x", *((whole,) if suite.short_last else ())):
        with pytest.raises(SealError):
            sealer.seal(0, plain, last=True)
    if suite.short_last:
        assert len(sealer.seal(3, b"", last=True)) == TAG
    else:
        with pytest.raises(SealError):
            sealer.seal(3, b"", last=True)


@both
def test_sealing_again_makes_the_same_bytes(suite: Suite) -> None:
    """A failed commit is repeated: what is in the vault must be what comes again."""
    one, two = suite.sealer(*keys(suite), PLACE), suite.sealer(*keys(suite), PLACE)
    assert one.prefix == two.prefix
    assert one.seal(5, PLAIN[: suite.chunk], last=False) == two.seal(5, PLAIN[: suite.chunk], last=False)


@both
def test_every_flipped_byte_is_refused(suite: Suite) -> None:
    payload = sealed(suite, PLAIN[: 2 * suite.chunk + 1000])
    edges = [suite.chunk_offset(n) + d for n in range(4) for d in (-1, 0, 1)]
    places = [*range(suite.prefix), *(e for e in edges if 0 <= e < len(payload)), *range(0, len(payload), 4999)]
    for at in [*places, len(payload) - 1]:
        bad = bytearray(payload)
        bad[at] ^= 1 << _RANDOM.randrange(8)
        released: list[bytes] = []
        with pytest.raises(PayloadError):
            opened(suite, bytes(bad), released)
        assert PLAIN.startswith(b"".join(released))
        assert len(released) == max(0, at - suite.prefix) // suite.enc_chunk  # only what stands before the damage


@both
def test_every_cut_is_refused(suite: Suite) -> None:
    for plain in (PLAIN[: 2 * suite.chunk + 1000], PLAIN[: 2 * suite.chunk]):
        payload = sealed(suite, plain)
        cuts = [suite.chunk_offset(n) + d for n in range(4) for d in (-17, -16, -1, 0, 1, 15, 16, 17)]
        for at in sorted({*range(suite.prefix + 18), *cuts, *range(40, len(payload), 7001), len(payload) - 1}):
            if 0 <= at < len(payload):
                with pytest.raises(HeaderError if at < suite.prefix else PayloadError):
                    opened(suite, payload[:at])


@both
def test_appended_bytes_are_refused(suite: Suite) -> None:
    for length in lengths(suite):
        payload = sealed(suite, PLAIN[:length])
        for tail in (b"\0", bytes(TAG), bytes(suite.enc_chunk), payload[suite.prefix :], payload[-TAG:]):
            released: list[bytes] = []
            with pytest.raises(PayloadError):
                opened(suite, payload + tail, released)
            assert PLAIN[:length].startswith(b"".join(released))


@both
def test_chunks_in_another_order_are_refused(suite: Suite) -> None:
    head, (one, two, three, *rest) = chunks_of(suite, sealed(suite, PLAIN[: 3 * suite.chunk]))
    tail = b"".join(rest)
    for order in ([two, one, three], [one, three, two], [one, one, two, three], [two, three], [three], [one, two]):
        with pytest.raises(PayloadError):
            opened(suite, head + b"".join(order) + tail)
    assert opened(suite, head + one + two + three + tail) == PLAIN[: 3 * suite.chunk]


@both
def test_chunks_of_another_payload_are_refused(suite: Suite) -> None:
    key, _ = keys(suite)
    other = b"".join(suite.write(key, bytes(suite.salt), PLACE, io.BytesIO(PLAIN)))
    payload, cut = sealed(suite, PLAIN), suite.chunk_offset(1)
    with pytest.raises(PayloadError):
        opened(suite, payload[:cut] + other[cut:])
    wrong = bytes([key[0] ^ 1]) + key[1:]
    with pytest.raises(PayloadError):
        list(suite.read(wrong, PLACE, io.BytesIO(payload)))


@both
def test_truncated_segments(suite: Suite) -> None:
    key = keys(suite)[0]
    sealer = suite.sealer(*keys(suite), PLACE)
    parts = [PLAIN[n * suite.chunk : (n + 1) * suite.chunk] for n in range(2)]
    payload = sealer.prefix + b"".join(sealer.seal(n, part, last=False) for n, part in enumerate(parts))
    assert len(payload) == suite.truncated_size(2)
    for tail in (b"", b"x", bytes(suite.enc_chunk - 1)):
        assert b"".join(suite.read_truncated(key, PLACE, io.BytesIO(payload + tail))) == b"".join(parts)
    assert list(suite.read_truncated(key, PLACE, io.BytesIO(sealer.prefix))) == []
    with pytest.raises(PayloadError):
        opened(suite, payload)
    for length in (2 * suite.chunk, 2 * suite.chunk + 9 if suite.short_last else 2 * suite.chunk, suite.chunk):
        with pytest.raises(PayloadError):  # a closed payload is not a truncated one
            list(suite.read_truncated(key, PLACE, io.BytesIO(sealed(suite, PLAIN[:length]))))
    with pytest.raises(PayloadError):
        list(suite.read_truncated(key, PLACE, io.BytesIO(payload[:-1] + b"\0" + bytes(TAG))))
    with pytest.raises(HeaderError):
        list(suite.read_truncated(key, PLACE, io.BytesIO(sealer.prefix[:-1])))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SUITES)), st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, 1, 999]))
def test_ranges(name: str, first: int, more: int, rest: int) -> None:
    suite = suite_of(name)
    plain = PLAIN[: 2 * suite.chunk + rest]
    payload, count = sealed(suite, plain), suite.chunk_count(len(plain))
    first = min(first, count - 1)
    end = min(first + more + 1, count)
    piece = payload[suite.chunk_offset(first) : suite.chunk_offset(end)]
    opener = suite.opener(keys(suite)[0], payload[: suite.prefix], PLACE)
    assert suite.read_range(opener, piece, first, count - 1) == plain[first * suite.chunk : end * suite.chunk]


@both
def test_ranges_refused(suite: Suite) -> None:
    payload = sealed(suite, PLAIN[: 2 * suite.chunk + 5])
    opener, whole = suite.opener(keys(suite)[0], payload[: suite.prefix], PLACE), payload[suite.prefix :]
    for data, first, last in (
        (whole, 0, 1),
        (whole, 0, 3),
        (whole, 0, None),
        (whole, 1, 2),
        (whole[:-1], 0, 2),
        (whole[: suite.enc_chunk - 1], 0, 2),
        (b"", 0, 2),
    ):
        with pytest.raises(PayloadError):
            suite.read_range(opener, data, first, last)
    assert suite.read_range(opener, whole[: 2 * suite.enc_chunk], 0, None) == PLAIN[: 2 * suite.chunk]
    with pytest.raises(HeaderError):
        suite.opener(keys(suite)[0], payload[: suite.prefix - 1], PLACE)
    with pytest.raises(PayloadError):  # a whole chunk that was sealed as not last is none, whatever a manifest says
        suite.read_range(opener, whole[: suite.enc_chunk], 0, 0)


@both
@settings(max_examples=40, deadline=None)
@given(noise=st.binary(max_size=400))
def test_noise_is_never_audio(suite: Suite, noise: bytes) -> None:
    with pytest.raises(AgeError):
        opened(suite, noise)
    with pytest.raises(AgeError):
        suite.open_header(noise, [X25519], PLACE)


# ------------------------------------------------------------ headers


def header(suite: Suite, *who: X25519Identity | HybridIdentity) -> bytes:
    return suite.make_header(keys(suite)[0], [one.recipient() for one in who], PLACE, randbytes=token_bytes)


@both
@pytest.mark.parametrize("kind", [X25519Identity, HybridIdentity])
def test_every_recipient_opens_a_header_and_nobody_else(
    suite: Suite, kind: type[X25519Identity] | type[HybridIdentity]
) -> None:
    who = [kind.generate(hashlib.sha256(bytes([n])).digest()) for n in range(3)]
    made = header(suite, *who[:2])
    for one in who[:2]:
        assert suite.open_header(made, [who[2], one], PLACE) == keys(suite)[0]
    with pytest.raises(NoMatchError):
        suite.open_header(made, [who[2], X25519, HYBRID], PLACE)


@both
def test_who_may_not_be_a_recipient(suite: Suite) -> None:
    key = keys(suite)[0]
    with pytest.raises(KeyFormatError) as mixed:
        header(suite, X25519, HYBRID)
    assert mixed.value.code == "recipient.mixed"
    with pytest.raises(KeyFormatError) as nobody:
        header(suite)
    assert nobody.value.code == "recipient.none"
    with pytest.raises(ValueError, match="bytes"):
        suite.make_header(key[:-1], [X25519.recipient()], PLACE, randbytes=token_bytes)


@both
@pytest.mark.parametrize("who", [X25519, HYBRID], ids=["x25519", "hybrid"])
def test_every_altered_header_is_refused(suite: Suite, who: X25519Identity | HybridIdentity) -> None:
    made = header(suite, who, who)
    for at in {*range(0, len(made), max(1, len(made) // 400)), *range(len(made) - 60, len(made))}:
        for bad in (made[:at] + bytes([made[at] ^ 1]) + made[at + 1 :], made[:at], made[:at] + made[at + 1 :]):
            with pytest.raises(AgeError):
                suite.open_header(bad, [who], PLACE)
    with pytest.raises(HeaderError):
        suite.open_header(made + b"\n", [who], PLACE)


@both
def test_a_header_with_a_stanza_less_is_refused(suite: Suite) -> None:
    other = X25519Identity.generate(bytes([9]) * 32)
    made = header(suite, other, X25519)
    lines = made.split(b"\n")
    second = next(n for n, line in enumerate(lines) if n > 1 and line.startswith(b"-> "))
    with pytest.raises(MacError):
        suite.open_header(b"\n".join([lines[0], *lines[second:]]), [X25519], PLACE)
    swapped = [lines[0], *lines[second:-2], *lines[1:second], *lines[-2:]]
    with pytest.raises(MacError):
        suite.open_header(b"\n".join(swapped), [X25519], PLACE)


# ------------------------------------------------------------ what only the one that binds its place does


def test_aes256gcm_is_tied_to_its_segment() -> None:
    suite = suite_of("aes256gcm")
    made, payload = header(suite, X25519), sealed(suite, PLAIN[:100])
    for place in ELSEWHERE:
        with pytest.raises(NoMatchError):
            suite.open_header(made, [X25519], place)
        released: list[bytes] = []
        with pytest.raises(PayloadError, match="for this segment"):
            opened(suite, payload, released, place)
        assert released == []


def test_a_header_of_one_suite_is_not_one_of_the_other() -> None:
    for one, two in (("age1", "aes256gcm"), ("aes256gcm", "age1")):
        with pytest.raises(HeaderError):
            suite_of(two).open_header(header(suite_of(one), X25519), [X25519], PLACE)


def test_a_suite_of_tomorrow_is_refused() -> None:
    with pytest.raises(SuiteError) as unknown:
        suite_of("age2")
    assert isinstance(unknown.value, FormatError)
    assert unknown.value.code == "vault.suite"


@pytest.mark.parametrize("bad", [("ab", "cd" * 16), ("AB" * 16, "cd" * 16), ("ab" * 16, "")])
def test_a_place_is_two_ids(bad: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="ids"):
        Place(*bad)
