"""Captures become the samples that the codecs' tables say."""

from __future__ import annotations

import warnings

import pytest

from formats.errors import FormatError
from formats.pcm import STORED, Decoder, Sound, expand, headerless

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import audioop

EVERY = bytes(range(256))


@pytest.mark.parametrize(("codec", "oracle"), [("ulaw", audioop.ulaw2lin), ("alaw", audioop.alaw2lin)])
def test_every_code_of_g711_is_expanded_as_another_library_does(codec: str, oracle: object) -> None:
    assert expand(codec, EVERY) == oracle(EVERY, 2)  # type: ignore[operator]


def test_linear_samples_stay() -> None:
    assert all(expand(codec, EVERY) == EVERY for codec, size in STORED.items() if size == 2)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 64])
@pytest.mark.parametrize(("codec", "channels"), [("sln16", 2), ("sln", 1), ("ulaw", 2), ("alaw", 1)])
def test_pieces_of_any_size_give_the_same(codec: str, channels: int, step: int) -> None:
    sound = Sound(codec, 8000, channels)
    decoder = Decoder(sound)
    odd = EVERY + b"\x01"  # half a frame that nobody has the rest of
    pieces = b"".join(decoder.feed(odd[at : at + step]) for at in range(0, len(odd), step))
    assert pieces == expand(codec, odd[: len(odd) - len(odd) % sound.frame])
    assert len(pieces) % sound.decoded_frame == 0


def test_what_cannot_be_decoded_is_said() -> None:
    assert headerless("ulaw")
    assert not headerless("opus")
    for codec, rate, channels in (("opus", 8000, 1), ("sln", 0, 1), ("sln", 8000, 3)):
        with pytest.raises(FormatError):
            Sound(codec, rate, channels)
