"""docs/prompts.md tells the length and the mark of every shipped prompt, and names every prompt there is.

Renew its table with: CALLWARDEN_WRITE_DOCS=1 python -m pytest tests/unit/prompts/test_prompts_docs.py
"""

from __future__ import annotations

import os
from pathlib import Path

from edge.prompts.manifest import PromptEntry, parse_manifest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs" / "prompts.md"
BEGIN, END = "<!-- table begins -->\n", "<!-- table ends -->\n"
LANGUAGES = ("en", "cs", "sk", "de", "fr", "es")


def entries(language: str) -> dict[str, PromptEntry]:
    file = ROOT / "prompts" / language / "manifest.toml"
    return {entry.id: entry for entry in parse_manifest(file.read_text("utf-8"), file).prompt}


def cell(entry: PromptEntry) -> str:
    mark = f" ({entry.answerable_from_ms / 1000:.1f})" if entry.answerable_from_ms else ""
    return f"{entry.duration_ms / 1000:.1f}{mark}"


def table() -> str:
    packs = {language: entries(language) for language in LANGUAGES}
    rows = [("id", *LANGUAGES), ("---",) * (len(LANGUAGES) + 1)]
    rows += [(f"`{name}`", *(cell(packs[language][name]) for language in LANGUAGES)) for name in packs["en"]]
    return "\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n\n"


def test_table_is_the_manifests_own() -> None:
    text = DOCS.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    old, _, tail = rest.partition(END)
    if os.environ.get("CALLWARDEN_WRITE_DOCS") == "1":
        DOCS.write_text(head + BEGIN + table() + END + tail, "utf-8")
        return
    assert old == table()


def test_every_prompt_is_explained() -> None:
    before = DOCS.read_text("utf-8").partition(BEGIN)[0]
    assert [name for name in entries("en") if f"`{name}`" not in before] == []
