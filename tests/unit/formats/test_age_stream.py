"""The chunk stream: every length that matters, and every way to damage it."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats import age
from formats.age.stream import Reader
from formats.errors import AgeError, HeaderError, PayloadError, SealError

KEY, NONCE = bytes(range(16)), bytes(range(16, 32))
LENGTHS = [0, 1, 65535, 65536, 65537, 131072]
_RANDOM = random.Random(7)
PLAIN = _RANDOM.randbytes(3 * age.CHUNK)


class Dribble:
    """A reader that gives a little at a time, as a socket does."""

    def __init__(self, data: bytes, step: int) -> None:
        self._source, self._step = io.BytesIO(data), step

    def read(self, size: int, /) -> bytes:
        return self._source.read(min(size, self._step))


def sealed(plain: bytes) -> bytes:
    return b"".join(age.encrypt_stream(KEY, NONCE, io.BytesIO(plain)))


def opened(payload: bytes | Reader) -> bytes:
    return b"".join(age.decrypt_stream(KEY, io.BytesIO(payload) if isinstance(payload, bytes) else payload))


@pytest.mark.parametrize("length", LENGTHS)
def test_lengths(length: int) -> None:
    payload = sealed(PLAIN[:length])
    assert len(payload) == age.payload_size(length)
    assert opened(payload) == PLAIN[:length]
    assert opened(Dribble(payload, 1000)) == PLAIN[:length]


@pytest.mark.parametrize("length", LENGTHS)
def test_chunk_by_chunk_equals_the_stream(length: int) -> None:
    """A sealer that is made anew for every chunk, as after a crash, writes the same bytes."""
    chunks = max(1, -(-length // age.CHUNK))
    parts = [NONCE]
    for index in range(chunks):
        piece = memoryview(PLAIN)[index * age.CHUNK : min(length, (index + 1) * age.CHUNK)]
        assert sum(map(len, parts)) == age.chunk_offset(index)
        parts.append(age.ChunkSealer(KEY, NONCE).seal(index, piece, last=index == chunks - 1))
    assert b"".join(parts) == sealed(PLAIN[:length])


@pytest.mark.parametrize(
    ("index", "size", "last"),
    [(0, 0, False), (0, 65535, False), (0, 65537, False), (0, 65537, True), (1, 0, True), (5, 1, False)],
)
def test_what_may_not_be_sealed(index: int, size: int, last: bool) -> None:
    with pytest.raises(SealError):
        age.ChunkSealer(KEY, NONCE).seal(index, bytes(size), last)


def test_wrong_sizes_of_keys() -> None:
    for key, nonce in ((KEY[:-1], NONCE), (KEY, NONCE + b"x"), (b"", b"")):
        with pytest.raises(ValueError, match="16 bytes"):
            age.ChunkSealer(key, nonce)


def test_every_sampled_flipped_byte_is_refused() -> None:
    payload = sealed(PLAIN[: 2 * age.CHUNK + 1000])
    edges = [16 + n * age.ENC_CHUNK + d for n in range(3) for d in (-1, 0, 1)]
    for at in [
        *range(16),
        *(e for e in edges if 0 <= e < len(payload)),
        *range(0, len(payload), 4999),
        len(payload) - 1,
    ]:
        bad = bytearray(payload)
        bad[at] ^= 1 << _RANDOM.randrange(8)
        released: list[bytes] = []
        with pytest.raises(PayloadError):
            released.extend(age.decrypt_stream(KEY, io.BytesIO(bytes(bad))))
        # Only chunks in front of the damage came out.
        assert PLAIN.startswith(b"".join(released))
        assert len(released) == max(0, at - 16) // age.ENC_CHUNK


def test_every_cut_is_refused() -> None:
    payload = sealed(PLAIN[: 2 * age.CHUNK + 1000])
    cuts = [*range(34), *(16 + n * age.ENC_CHUNK + d for n in (1, 2) for d in (-17, -16, -1, 0, 1, 15, 16, 17))]
    for at in [*cuts, *range(40, len(payload), 7001), len(payload) - 1]:
        with pytest.raises(HeaderError if at < 16 else PayloadError):
            opened(payload[:at])


@pytest.mark.parametrize("length", LENGTHS)
def test_appended_bytes_are_refused(length: int) -> None:
    payload = sealed(PLAIN[:length])
    for tail in (b"\0", bytes(16), bytes(age.ENC_CHUNK), payload[16:]):
        with pytest.raises(PayloadError):
            opened(payload + tail)


def test_reordered_chunks_are_refused() -> None:
    payload = sealed(PLAIN)
    head, one, two, three = payload[:16], *(payload[age.chunk_offset(n) : age.chunk_offset(n + 1)] for n in range(3))
    for order in ([two, one, three], [one, three], [one, three, two], [one, one, two, three], [three], [two, three]):
        with pytest.raises(PayloadError):
            opened(head + b"".join(order))
    assert opened(head + one + two + three) == PLAIN


def test_chunks_of_another_stream_are_refused() -> None:
    payload = sealed(PLAIN)
    other = b"".join(age.encrypt_stream(KEY, bytes(16), io.BytesIO(PLAIN)))
    cut = age.chunk_offset(1)
    with pytest.raises(PayloadError):
        opened(payload[:cut] + other[cut:])


def test_an_empty_last_chunk_is_refused_as_age_does() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    first = age.ChunkSealer(KEY, NONCE).seal(0, PLAIN[: age.CHUNK], last=False)
    empty = ChaCha20Poly1305(age.payload_key(KEY, NONCE)).encrypt((1).to_bytes(11, "big") + b"\x01", b"", None)
    with pytest.raises(PayloadError, match="empty"):
        opened(NONCE + first + empty)


def test_truncated_segments() -> None:
    sealer = age.ChunkSealer(KEY, NONCE)
    chunks = [sealer.seal(n, PLAIN[n * age.CHUNK : (n + 1) * age.CHUNK], last=False) for n in range(2)]
    payload = NONCE + b"".join(chunks)
    for tail in (b"", b"x", bytes(age.ENC_CHUNK - 1)):
        assert b"".join(age.decrypt_truncated(KEY, io.BytesIO(payload + tail))) == PLAIN[: 2 * age.CHUNK]
    with pytest.raises(PayloadError):
        opened(payload)
    assert list(age.decrypt_truncated(KEY, io.BytesIO(NONCE))) == []
    for bad in (payload + bytes(age.ENC_CHUNK), NONCE + chunks[1], sealed(PLAIN)):
        with pytest.raises(PayloadError):
            list(age.decrypt_truncated(KEY, io.BytesIO(bad)))
    with pytest.raises(HeaderError):
        list(age.decrypt_truncated(KEY, io.BytesIO(NONCE[:5])))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2), st.integers(0, 2), st.sampled_from([1, 999, age.CHUNK]))
def test_ranges(first: int, more: int, rest: int) -> None:
    plain = PLAIN[: 2 * age.CHUNK + rest]
    payload = sealed(plain)
    end = min(first + more + 1, 3)
    piece = payload[age.chunk_offset(first) : age.chunk_offset(end)]
    got = age.decrypt_range(KEY, NONCE, piece, first, last_index=2)
    assert got == plain[first * age.CHUNK : end * age.CHUNK]


def test_ranges_refused() -> None:
    payload = sealed(PLAIN[: 2 * age.CHUNK + 5])
    whole = payload[16:]
    for data, first, last in (
        (whole, 0, 1),
        (whole, 0, 3),
        (whole, 0, None),
        (whole, 1, 2),
        (whole[:-1], 0, 2),
        (whole[: age.ENC_CHUNK - 1], 0, 2),
        (b"", 0, 2),
    ):
        with pytest.raises(PayloadError):
            age.decrypt_range(KEY, NONCE, data, first, last)
    assert age.decrypt_range(KEY, NONCE, whole[: 2 * age.ENC_CHUNK], 0, None) == PLAIN[: 2 * age.CHUNK]
    # Even genuine chunks are not read behind the one that the manifest calls the last.
    sealer = age.ChunkSealer(KEY, NONCE)
    behind = sealer.seal(0, PLAIN[: age.CHUNK], last=True) + sealer.seal(1, PLAIN[: age.CHUNK], last=False)
    with pytest.raises(PayloadError, match="follow"):
        age.decrypt_range(KEY, NONCE, behind, 0, 0)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_never_audio(noise: bytes) -> None:
    with pytest.raises(AgeError):
        opened(noise)
