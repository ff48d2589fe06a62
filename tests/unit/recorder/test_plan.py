"""The arithmetic of sealing: every byte once, in order, and never a last chunk too early or empty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.recorder.plan import CHUNK, Slice, plan, segment_chunks

NO_LIMIT = 10**9


@pytest.mark.parametrize(
    ("size", "whole", "tail"),
    [
        (0, 0, 0),
        (1, 0, 1),
        (CHUNK - 1, 0, CHUNK - 1),
        (CHUNK, 0, CHUNK),
        (CHUNK + 1, 1, 1),
        (2 * CHUNK, 1, CHUNK),
        (2 * CHUNK + 1, 2, 1),
    ],
)
def test_chunk_boundaries(size: int, whole: int, tail: int) -> None:
    running = plan(spool_offset=0, chunks=0, size=size, closing=False, limit=NO_LIMIT)
    assert [s.last for s in running.slices] == [False] * whole
    closed = plan(spool_offset=0, chunks=whole, size=size, closing=True, limit=NO_LIMIT)
    assert closed.slices == ((Slice(whole, whole * CHUNK, tail, True),) if tail else ())


def test_a_spool_shorter_than_what_was_sealed_is_refused() -> None:
    with pytest.raises(ValueError, match="were sealed"):
        plan(spool_offset=0, chunks=2, size=2 * CHUNK - 1, closing=False, limit=NO_LIMIT)


def test_a_segment_is_fifteen_minutes_of_the_default_format() -> None:
    assert segment_chunks(32000) == 15 * 60 * 32000 // CHUNK


@given(st.lists(st.integers(0, 3 * CHUNK), max_size=12), st.integers(1, 6))
def test_ticks_and_rotations_cover_every_byte_once(growth: list[int], limit: int) -> None:
    size = spool_offset = chunks = 0
    covered = 0
    for grown in [*growth, None]:
        closing = grown is None
        size += grown or 0
        while True:
            todo = plan(spool_offset=spool_offset, chunks=chunks, size=size, closing=closing, limit=limit)
            for piece in todo.slices:
                assert piece.offset == covered
                assert piece.length > 0
                assert piece.last or piece.length == CHUNK
                assert piece.last or piece.offset + piece.length < size
                covered += piece.length
                chunks += 1
            if not todo.rotate:
                break
            assert todo.slices[-1].last
            assert chunks == limit
            assert covered < size
            spool_offset, chunks = covered, 0
        if not closing:
            assert size - covered <= CHUNK
    assert covered == size
