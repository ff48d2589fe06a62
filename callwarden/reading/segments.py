"""A segment's key, its payload and its plaintext, each verified before it is given on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from callwarden.door import Source
from callwarden.reading.bundle import Opened, Row
from callwarden.reading.encoded import decoded
from callwarden.reading.files import copy
from callwarden.reading.spans import Part
from edge.errors import CallwardenError
from formats.age import Identity
from formats.errors import FormatError, NoMatchError
from formats.manifest import check_key, check_payload, key_id
from formats.pcm import Decoder, Sound
from formats.place import Place
from formats.suites import suite_of


def place_of(opened: Opened, segment: Row) -> Place:
    """Where the segment belongs, which some suites bind its ciphertext to."""
    return Place(opened.recording_id, segment["segment_id"])


def file_key(opened: Opened, segment: Row, identities: Sequence[Identity]) -> bytes:
    """The segment's file key. Its header is read now, which the daemon audits.

    Raises vault.no_match, vault.key_id, vault.header, and what the door refuses.
    """
    header = opened.door.header(opened.recording_id, segment["number"], opened.reading)
    try:
        key = suite_of(segment["suite"]).open_header(header, identities, place_of(opened, segment))
        if opened.manifest is not None:
            check_key(opened.manifest.segments[segment["number"]], key)
        elif key_id(key).hex() != segment["key_id"]:
            raise opened.differs(f"segment {segment['number']}: this key is not the one it was sealed with")
    except NoMatchError as error:
        raise CallwardenError(
            "vault.no_match",
            "this identity does not open the recording",
            hint="it was sealed to other recipients: " + " ".join(segment["recipients"]),
            where=opened.recording_id,
        ) from error
    except FormatError as error:
        raise opened.refused(error) from error
    return key


@contextmanager
def payload(opened: Opened, segment: Row) -> Iterator[IO[bytes]]:
    """The payload in an unnamed file, verified as a whole against the manifest. It is ciphertext."""
    with tempfile.TemporaryFile() as held:
        with opened.door.payload(opened.recording_id, segment["number"], opened.reading) as source:
            size = copy(source, held)
        if size != segment["payload_bytes"]:
            raise opened.differs(
                f"segment {segment['number']}: {size} bytes came, {segment['payload_bytes']} are on file"
            )
        if opened.manifest is not None:
            held.seek(0)
            try:
                check_payload(opened.manifest.segments[segment["number"]], held)
            except FormatError as error:
                raise opened.refused(error) from error
        held.seek(0)
        yield held


def plaintext(opened: Opened, segment: Row, key: bytes) -> Iterator[bytes]:
    """The segment's bytes in its own codec, chunk by chunk, after the whole payload was verified."""
    closed = segment["state"] == "closed"
    if segment["state"] == "truncated" and segment["end_reason"] == "resume_refused":
        opened.warnings.append(f"segment {segment['number']} ended at a restart; what was left went into the next one")
    elif segment["state"] == "truncated":
        opened.warnings.append(f"segment {segment['number']} was cut off: its whole chunks are in the file")
    with payload(opened, segment) as held:
        try:
            suite = suite_of(segment["suite"])
            read = suite.read if closed else suite.read_truncated
            yield from read(key, place_of(opened, segment), held)
        except FormatError as error:
            raise opened.refused(error) from error


def sound_of(opened: Opened) -> Sound:
    """What the segments' plaintext is. Raises vault.codec."""
    try:
        return Sound(opened.bundle["codec"], opened.bundle["rate"], opened.bundle["channels"])
    except FormatError as error:
        raise opened.refused(error) from error


def samples(opened: Opened, segment: Row, key: bytes) -> Iterator[bytes]:
    """The segment as 16-bit PCM."""
    decoder = Decoder(sound_of(opened))
    if segment["encoding"] != "none":
        yield from decoded(opened, segment, plaintext(opened, segment, key))
        return
    for chunk in plaintext(opened, segment, key):
        yield decoder.feed(chunk)


def part_samples(opened: Opened, part: Part, key: bytes) -> Iterator[bytes]:
    """A part of a segment as 16-bit PCM: its whole chunks are read, and each is verified before any of it is given on.

    What that proves, and what only a whole read does: docs/spec/reading.md. An encoded segment is read as a
    whole and cut: in FLAC and Opus a byte's place does not say its time.
    """
    segment, sound = part.segment, sound_of(opened)
    if segment["encoding"] != "none":
        yield from _cut(samples(opened, segment, key), part.first * sound.decoded_frame, part.end * sound.decoded_frame)
        return
    suite, decoder = suite_of(segment["suite"]), Decoder(sound)
    begin, end = part.first * sound.frame, part.end * sound.frame
    first, last = begin // suite.chunk, (end - 1) // suite.chunk
    stop = min(suite.chunk_offset(last + 1), segment["payload_bytes"])
    last_index = segment["chunks"] - 1 if segment["state"] == "closed" else None
    prefix = b"".join(_pieces(opened, segment, (0, suite.prefix), suite.prefix))
    index = first
    try:
        opener = suite.opener(key, prefix, place_of(opened, segment))
        for sealed in _pieces(opened, segment, (suite.chunk_offset(first), stop), suite.enc_chunk):
            plain = opener.open(index, sealed, last=index == last_index)
            at = index * suite.chunk
            yield decoder.feed(plain[max(0, begin - at) : end - at])
            index += 1
    except FormatError as error:
        raise opened.refused(error) from error
    if index <= last:
        raise opened.differs(f"segment {segment['number']}: a chunk is missing")


def _cut(pieces: Iterator[bytes], begin: int, end: int) -> Iterator[bytes]:
    """Bytes `begin` to `end` of all pieces together; read to their end, so that they are verified to it."""
    at = 0
    for piece in pieces:
        yield piece[max(0, begin - at) : max(0, end - at)]
        at += len(piece)


def _pieces(opened: Opened, segment: Row, span: tuple[int, int], size: int) -> Iterator[bytes]:
    """The payload's bytes of `span`, in pieces of `size` bytes, the last perhaps shorter. Raises vault.differs where fewer come."""
    left = span[1] - span[0]
    with opened.door.payload(opened.recording_id, segment["number"], opened.reading, span) as source:
        while left:
            piece = _fill(source, min(left, size))
            if not piece:
                raise opened.differs(f"segment {segment['number']}: the payload is shorter than was committed")
            left -= len(piece)
            yield piece


def _fill(source: Source, size: int) -> bytes:
    """`size` bytes, or none: a cut piece is no chunk."""
    piece = b""
    while len(piece) < size:
        more = source.read(size - len(piece))
        if not more:
            return b""
        piece += more
    return piece
