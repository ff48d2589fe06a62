"""One segment's samples into a file of the archive, with the other party's channel silenced where that is asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator

from callwarden.accesspackage.archive import Archive
from callwarden.accesspackage.sources import Piece
from callwarden.reading.writers import check_form, writer
from edge.errors import CallwardenError
from formats.wav import wav_header

#: The channel of the party the call is about; the other is the agent's (docs/spec/access-package.md).
OWN_CHANNEL = 0


def put(archive: Archive, piece: Piece, form: str, *, mask: bool) -> str:
    """Write it; the name it got. An encoder needs to go back in its file, so that lies in memory (a segment is 15 minutes at most).

    Raises vault.differs where the audio is not as long as its facts say, and what reading raises before the first byte.
    """
    pieces = _counted(piece, _masked(piece) if mask else piece.samples())
    first = next(pieces, b"")  # what is wrong with the whole payload comes to light here, before the entry begins
    name = f"audio/{piece.name}.{form}"
    if form == "wav":
        head = wav_header(piece.frames * 2 * piece.channels, piece.rate, piece.channels)
        archive.stream(name, _chain(head, first, pieces))
        return name
    made = io.BytesIO()
    with writer(form, made, piece.rate, piece.channels) as out:
        out.write(first)
        for more in pieces:
            out.write(more)
    archive.stream(name, [made.getvalue()])
    return name


def check(piece: Piece, form: str, *, mask: bool) -> None:
    """Before anything is written. Raises command.mask for a recording whose parties cannot be told apart, and as `check_form`."""
    check_form(form, piece.rate)
    if mask and piece.channels != 2:
        raise CallwardenError("command.mask", "both parties are on one channel, so the other one cannot be silenced")


def _chain(head: bytes, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield first
    yield from rest


def _counted(piece: Piece, pieces: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for one in pieces:
        size += len(one)
        yield one
    if size != piece.frames * 2 * piece.channels:
        raise CallwardenError("vault.differs", "the audio has another length than its facts say", where=piece.name)


def _masked(piece: Piece) -> Iterator[bytes]:
    """Two channels with the second all zeros: not attenuated, not there."""
    frame, held = 4, b""
    for one in piece.samples():
        data = held + one
        whole = len(data) - len(data) % frame
        held = data[whole:]
        out = bytearray(data[:whole])
        out[2::frame] = bytes(whole // frame)
        out[3::frame] = bytes(whole // frame)
        yield bytes(out)
    yield held
