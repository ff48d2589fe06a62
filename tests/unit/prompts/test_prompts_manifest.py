"""The manifest: written and read as one thing, refused with its line."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import CallwardenError
from edge.prompts.manifest import Manifest, PromptEntry, parse_manifest, render_manifest

SHIPPED = Path(__file__).parents[3] / "prompts"
FILE = PurePath("/p/en/manifest.toml")
TEXT = """\
language = "en"

[[prompt]]
id = "ask"
version = "1.0"
text = "May we?"
file = "ask.wav"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
duration_ms = 1000
answerable_from_ms = 500
"""


@pytest.mark.parametrize("language", ["en", "cs", "sk", "de", "fr", "es"])
def test_shipped_manifest_is_what_the_renderer_writes(language: str) -> None:
    file = SHIPPED / language / "manifest.toml"
    manifest = parse_manifest(file.read_text(encoding="utf-8"), file)
    assert render_manifest(manifest) == file.read_text(encoding="utf-8")
    assert all(entry.voice and entry.licence for entry in manifest.prompt), "who spoke, and under which licence"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('id = "ask"', 'id = "Ask me"', 4),
        ('id = "ask"', "", 3),
        ('version = "1.0"', 'version = "1"', 5),
        ('version = "1.0"', "version = 1.0", 5),
        ('text = "May we?"', 'text = " "', 6),
        ('file = "ask.wav"', 'file = "../ask.wav"', 7),
        ('file = "ask.wav"', 'file = "ask.mp3"', 7),
        ("0000", "000G", 8),
        ("duration_ms = 1000", "duration_ms = 400", 10),
        ("answerable_from_ms = 500", "answerable_from_ms = -1", 10),
        ("answerable_from_ms = 500", "loudness = 3", 3),
        ('language = "en"', 'language = "de"', 1),
        ('language = "en"', "language = en", 1),
        ("[[prompt]]", "[prompt]", 3),
    ],
)
def test_wrong_manifest_names_the_line(old: str, new: str, line: int) -> None:
    with pytest.raises(CallwardenError) as caught:
        parse_manifest(TEXT.replace(old, new, 1), FILE)
    assert (caught.value.code, caught.value.where) == ("prompt.manifest", f"{FILE}:{line}")
    assert caught.value.hint


def test_same_id_twice() -> None:
    second = TEXT.split("\n", 2)[2]
    with pytest.raises(CallwardenError, match="there twice") as caught:
        parse_manifest(TEXT + second, FILE)
    assert caught.value.where == f"{FILE}:12"


PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from('\n\t"\\'), min_size=1)


@given(PRINTABLE.filter(lambda t: bool(t.strip())), PRINTABLE, st.lists(PRINTABLE))
def test_any_words_survive_writing_and_reading(text: str, voice: str, says: list[str]) -> None:
    entry = PromptEntry(
        id="ask", version="2.1", text=text, file="a.wav", sha256="0" * 64, duration_ms=9, says=tuple(says), voice=voice
    )
    manifest = Manifest(language="en", prompt=(entry,))
    assert parse_manifest(render_manifest(manifest), FILE) == manifest
