"""Reports and answers into documents. Pure: the same facts give the same document, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from formats.register.answers import Answers, OfPolicy
from formats.register.document import Document, Row, Section
from formats.register.notices import notices
from formats.register.parts import BROKEN, day_of, flat, general, identity, row, said, unreadable
from formats.register.phrases import Phrases, Setting
from formats.register.report import Entry
from formats.register.words import Words


def build(
    kind: str, entries: Sequence[Entry], answers: Answers, setting: Setting, *, lang: str = "", only: str = ""
) -> Document:
    """kind: one of `document.KINDS` but "changes" (`changes.changes`). lang: of the words, "" for English, and for notices
    every language of the policy. only: the one policy that was asked for. Raises KeyError for another kind."""
    if kind == "notices":
        return notices(entries, answers, setting, lang)
    w = Words(lang or "en")
    make = {"register": _register, "dpia": _dpia, "balancing": _balancing, "recipients": _recipients}[kind]
    sections = [] if kind == "recipients" else [general(answers, w, {e.report.policy for e in entries}, only)]
    for entry in entries:
        phrases = Phrases(entry, answers, setting, w)
        try:
            rows = (*identity(phrases), *make(phrases)) if entry.report.document else unreadable(phrases)
        except BROKEN:  # one edge's report is no reason to show nobody's
            rows = unreadable(phrases)
        sections.append(Section(entry.key, w("policy", name=entry.report.policy), rows))
    return Document(kind, w.lang, w(f"title.{kind}"), tuple(sections))


def _register(p: Phrases) -> Iterator[Row]:
    """GDPR Art. 30(1)(b) to (g)."""
    w = p.w
    yield row(w, "purposes", p.purposes())
    yield row(w, "basis", p.basis())
    yield row(w, "subjects", p.subjects())
    yield row(w, "data", p.data())
    yield row(w, "recipients", p.recipients())
    yield row(w, "transfers", p.transfers())
    yield row(w, "times", p.times())
    yield row(w, "security", p.security())
    yield row(w, "organisational", p.answers.organisational, "organisational")


def _dpia(p: Phrases) -> Iterator[Row]:
    """GDPR Art. 35(7)(a) to (d), with 35(2) and 35(9)."""
    w, name = p.w, p.entry.report.policy
    about = p.answers.of(name)
    yield row(w, "description", [p.asked(), *p.data()])
    yield row(w, "match", _match(p))
    yield row(w, "languages", [str(one) for one in p.get("languages", default=[])])
    yield row(w, "purposes", p.purposes())
    yield row(w, "basis", p.basis())
    yield row(w, "recipients", p.recipients())
    yield row(w, "settings", [f"{key} = {value}" for key, value in flat(p.document)])
    yield row(w, "necessity", [*said(about.necessity)], f"policy.{name}.necessity")
    yield row(w, "safeguards", p.safeguards())
    yield row(w, "times", p.times())
    yield row(w, "risks", _risks(p, about), f"policy.{name}.risk")
    yield row(w, "weaknesses", p.weaknesses())
    yield row(w, "measures", p.security())
    yield row(w, "organisational", p.answers.organisational, "organisational")
    yield row(w, "advice", said(about.advice), f"policy.{name}.advice")
    yield row(w, "views", said(about.views), f"policy.{name}.views")


def _balancing(p: Phrases) -> Iterator[Row]:
    """GDPR Art. 6(1)(f), for who stands on it."""
    w, name = p.w, p.entry.report.policy
    if p.get("basis") != "legitimate_interests":
        yield Row("not_needed", w("basis"), (w("not_needed", basis=p.basis()[0]),))
        return
    made = p.answers.of(name).balancing
    yield row(w, "basis", p.basis())
    yield row(w, "purposes", p.purposes())
    for key in ("interest", "necessity", "balance"):
        yield row(w, key, said(getattr(made, key)), f"policy.{name}.balancing.{key}")
    yield row(w, "safeguards", p.safeguards())
    yield row(w, "times", p.times())
    yield row(w, "weaknesses", p.weaknesses())
    yield row(w, "outcome", said(made.outcome), f"policy.{name}.balancing.outcome")
    by = ", ".join([*said(made.by), *day_of(made.on)])
    yield row(w, "assessed", said(by), f"policy.{name}.balancing.by")


def _recipients(p: Phrases) -> Iterator[Row]:
    yield row(p.w, "recipients", p.recipients())
    yield row(p.w, "transfers", p.transfers())


def _risks(p: Phrases, about: OfPolicy) -> list[str]:
    w, name = p.w, p.entry.report.policy

    def told(text: str, what: str) -> str:
        return text or w.fill(f"policy.{name}.risk.{what}")

    def level(text: str, what: str) -> str:
        return w(f"level.{text}") if text else told("", what)

    return [
        w(
            "risk",
            risk=one.risk,
            likelihood=level(one.likelihood, "likelihood"),
            severity=level(one.severity, "severity"),
            measures=told(one.measures, "measures"),
            residual=level(one.residual, "residual"),
        )
        for one in about.risk
    ]


def _match(p: Phrases) -> list[str]:
    found = [f"{kind}: {', '.join(map(str, p.get('match', kind)))}" for kind in ("did", "queue", "context")
             if p.get("match", kind)]  # fmt: skip
    return [*found, p.w("match.name")]
