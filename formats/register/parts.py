"""Rows that several documents share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, Final

from formats import canonical
from formats.register.answers import Answers
from formats.register.document import Row, Section
from formats.register.phrases import Phrases
from formats.register.report import Entry
from formats.register.words import Words

#: What reading a policy's document raises where its members are not what they are called.
BROKEN: Final = (TypeError, ValueError, AttributeError, LookupError, RecursionError)


def row(w: Words, key: str, values: Iterable[str], missing: str = "") -> Row:
    """A row; without values what is missing, or "none"."""
    return Row(key, w(key), tuple(values) or (w.fill(missing) if missing else w("none"),))


def general(answers: Answers, w: Words, running: set[str], only: str = "") -> Section:
    """Who answers for it all."""
    rows = [Row("role", w("role"), (w(f"role.{answers.role}"),))]
    rows.append(row(w, "controller", said(answers.controller.text), "controller"))
    if answers.role == "processor":
        rows.append(row(w, "on_behalf_of", [p.text for p in answers.on_behalf_of if p.text], "on_behalf_of"))
    if answers.joint:
        rows.append(row(w, "joint", [party.text for party in answers.joint]))
    if answers.representative.text:
        rows.append(row(w, "representative", [answers.representative.text]))
    rows.append(row(w, "dpo", said(answers.dpo.text), "dpo"))
    if idle := sorted(set(answers.policy) - running) if not only else []:
        rows.append(row(w, "not_running", idle))
    return Section("general", w("general"), tuple(rows))


def identity(p: Phrases) -> Iterator[Row]:
    """Which policy, in which version, where and since when; and when it is looked at again."""
    w, about = p.w, p.answers.of(p.entry.report.policy)
    yield Row("version", w("version"), (p.entry.report.version or "",))
    where = []
    for edge, since in p.entry.edges:
        told = w("at_since", edge=edge, since=since or w.fill("since"))
        state, at = p.entry.states.get(edge, ("", ""))
        where.append(f"{told}; {w(f'at.{state}', at=at)}" if state else told)
    yield row(w, "in_force", where)
    yield row(w, "review_by", day_of(about.review_by), f"policy.{p.entry.report.policy}.review_by")
    if about.reviewed_on or about.reviewer:
        yield row(w, "reviewed", [", ".join([*day_of(about.reviewed_on), *said(about.reviewer)])])


def unreadable(p: Phrases) -> tuple[Row, ...]:
    """In the place of everything else where an edge reported what is no policy."""
    return (*identity(p), Row("unreadable", p.w("unreadable"), (p.w("unreadable.text"),)))


def flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """A document's settings, one line each: (dotted name, value as JSON)."""
    if isinstance(value, dict) and set(value) == {"ms"}:
        yield name, f"{value['ms']} ms"
    elif isinstance(value, dict) and value:
        for key in sorted(value):
            yield from flat(value[key], f"{name}.{key}" if name else key)
    else:
        yield name, canonical.dumps(value).decode() if not isinstance(value, str) else value


def said(text: str) -> list[str]:
    """A fact that somebody gave, or nothing."""
    return [text] if text else []


def day_of(day: date | None) -> list[str]:
    """A day, or nothing."""
    return [day.isoformat()] if day else []


def language_of(entry: Entry) -> list[str]:
    """Every language that calls under this policy are spoken to in, as reported."""
    document: dict[str, Any] = entry.report.document
    named = [*document.get("languages", []), *(prompt.language for prompt in entry.report.prompts)]
    return list(dict.fromkeys(str(one) for one in named))
