"""What differs between two moments. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from formats.register.document import Document, Row, Section
from formats.register.parts import flat
from formats.register.report import InForce
from formats.register.words import Words


def changes(
    before: Iterable[InForce], after: Iterable[InForce], begin: str, end: str, *, lang: str = "", only: str = ""
) -> Document:
    """before, after: what ran at `begin` and at `end` ("" for now). One section per edge and policy that differs."""
    w = Words(lang or "en")
    one, other = _by_place(before, only), _by_place(after, only)
    span = Row("since", w("since"), tuple(part for part in (begin, end) if part))
    sections = [Section("general", w("general"), (span,))]
    for place in sorted({*one, *other}):
        if rows := _differences(w, one.get(place), other.get(place)):
            edge_id, name = place
            sections.append(Section(f"{name}@{edge_id}", f"{w('policy', name=name)}, {edge_id}", rows))
    if len(sections) == 1:
        sections = [Section("general", w("general"), (span, Row("none", w("change.none"), (w("none"),))))]
    return Document("changes", w.lang, w("title.changes"), tuple(sections))


def _by_place(running: Iterable[InForce], only: str) -> dict[tuple[str, str], InForce]:
    return {
        (one.edge_id, one.report.policy): one
        for one in running
        if one.report.version is not None and only in ("", one.report.policy)
    }


def _differences(w: Words, old: InForce | None, new: InForce | None) -> tuple[Row, ...]:
    if old is None or new is None:
        there = new or old
        assert there is not None
        key = "change.new" if old is None else "change.gone"
        return (Row(key, w(key), (there.report.version or "",)),)
    rows: list[Row] = []
    if old.report.version != new.report.version:
        a, b = dict(flat(old.report.document)), dict(flat(new.report.document))
        told = [
            w("change.setting", name=name, old=a.get(name, "-"), new=b.get(name, "-"))
            for name in sorted({*a, *b})
            if a.get(name) != b.get(name)
        ]
        rows.append(Row("version", w("version"), (old.report.version or "", new.report.version or "")))
        rows.append(Row("settings", w("settings"), tuple(told)))
    if old.report.prompts != new.report.prompts:
        a = {f"{p.language}/{p.id}": f"{p.version} {p.text}" for p in old.report.prompts}
        b = {f"{p.language}/{p.id}": f"{p.version} {p.text}" for p in new.report.prompts}
        told = [
            w("change.setting", name=name, old=a.get(name, "-"), new=b.get(name, "-"))
            for name in sorted({*a, *b})
            if a.get(name) != b.get(name)
        ]
        rows.append(Row("change.prompts", w("change.prompts"), tuple(told) or (w("audio", sha256="≠"),)))
    if old.report.house != new.report.house:
        rows.append(Row("change.house", w("change.house"), (new.since,)))
    return tuple(rows)
