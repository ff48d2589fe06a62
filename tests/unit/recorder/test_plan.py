"""The arithmetic of sealing: every byte once, in order, and never a last chunk too early or of a wrong length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.recorder.plan import Slice, plan, segment_chunks
from formats.suites import AES256GCM, AGE1, SUITES, Suite

CHUNK, SHORT = AGE1.chunk, AES256GCM.chunk
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
    running = plan(AGE1, spool_offset=0, chunks=0, size=size, closing=False, limit=NO_LIMIT)
    assert [s.last for s in running.slices] == [False] * whole
    closed = plan(AGE1, spool_offset=0, chunks=whole, size=size, closing=True, limit=NO_LIMIT)
    assert closed.slices == ((Slice(whole, whole * CHUNK, tail, True),) if tail else ())


@pytest.mark.parametrize(
    ("size", "whole", "tail"),
    [(0, 0, None), (1, 0, 1), (SHORT - 1, 0, SHORT - 1), (SHORT, 1, 0), (SHORT + 1, 1, 1), (2 * SHORT, 2, 0)],
)
def test_chunk_boundaries_where_a_last_chunk_is_short(size: int, whole: int, tail: int | None) -> None:
    running = plan(AES256GCM, spool_offset=0, chunks=0, size=size, closing=False, limit=NO_LIMIT)
    assert [(s.length, s.last) for s in running.slices] == [(SHORT, False)] * whole
    closed = plan(AES256GCM, spool_offset=0, chunks=whole, size=size, closing=True, limit=NO_LIMIT)
    assert closed.slices == (() if tail is None else (Slice(whole, whole * SHORT, tail, True),))
    at_once = plan(AES256GCM, spool_offset=0, chunks=0, size=size, closing=True, limit=NO_LIMIT)
    assert at_once.slices == running.slices + closed.slices


def test_a_full_segment_ends_with_an_empty_chunk_once_more_is_there() -> None:
    full = plan(AES256GCM, spool_offset=7, chunks=0, size=7 + 2 * SHORT, closing=False, limit=2)
    assert not full.rotate
    more = plan(AES256GCM, spool_offset=7, chunks=2, size=8 + 2 * SHORT, closing=False, limit=2)
    assert (more.slices, more.rotate) == ((Slice(2, 7 + 2 * SHORT, 0, True),), True)
    ended = plan(AES256GCM, spool_offset=7, chunks=2, size=7 + 2 * SHORT, closing=True, limit=2)
    assert (ended.slices, ended.rotate) == ((Slice(2, 7 + 2 * SHORT, 0, True),), False)


def test_a_spool_shorter_than_what_was_sealed_is_refused() -> None:
    with pytest.raises(ValueError, match="were sealed"):
        plan(AGE1, spool_offset=0, chunks=2, size=2 * CHUNK - 1, closing=False, limit=NO_LIMIT)


def test_a_segment_is_fifteen_minutes_of_the_default_format() -> None:
    assert segment_chunks(32000, CHUNK) == 15 * 60 * 32000 // CHUNK
    assert segment_chunks(32000, SHORT) == 15 * 60 * 32000 // SHORT


@given(
    st.sampled_from(sorted(SUITES)), st.lists(st.integers(0, 12), max_size=12), st.integers(1, 6), st.integers(-1, 1)
)
def test_ticks_and_rotations_cover_every_byte_once(name: str, quarters: list[int], limit: int, more: int) -> None:
    """Growth in quarters of a chunk, so that bytes often end where a chunk does."""
    suite: Suite = SUITES[name]
    growth = [max(0, n * suite.chunk // 4 + more) for n in quarters]
    size = spool_offset = chunks = 0
    covered = 0
    for grown in [*growth, None]:
        closing = grown is None
        size += grown or 0
        while True:
            todo = plan(suite, spool_offset=spool_offset, chunks=chunks, size=size, closing=closing, limit=limit)
            for piece in todo.slices:
                assert piece.offset == covered
                assert piece.last or piece.length == suite.chunk
                if suite.short_last:
                    assert piece.length < suite.chunk or not piece.last
                else:
                    assert piece.length > 0
                    assert piece.last or piece.offset + piece.length < size
                covered += piece.length
                chunks += 1
            if not todo.rotate:
                break
            assert todo.slices[-1].last
            assert chunks == limit + suite.short_last
            assert covered < size
            spool_offset, chunks = covered, 0
        if not closing:
            assert size - covered <= suite.chunk - suite.short_last
    assert covered == size
