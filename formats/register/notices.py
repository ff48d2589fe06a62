"""What people hear and read, per policy and language: the very words of the prompts, and a written notice. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from formats.register import parts
from formats.register.answers import Answers
from formats.register.document import Document, Row, Section
from formats.register.phrases import Phrases, Setting
from formats.register.report import Entry
from formats.register.words import LANGUAGES, Words


def notices(entries: Sequence[Entry], answers: Answers, setting: Setting, lang: str) -> Document:
    """Two sections per policy and language. lang: only this one; "" for all that the policy speaks."""
    top = Words(lang or "en")
    sections: list[Section] = []
    for entry in entries:
        try:
            if not entry.report.document:
                raise ValueError("no document")
            sections += _of_entry(entry, answers, setting, lang)
        except parts.BROKEN:  # one edge's report is no reason to show nobody's
            broken = parts.unreadable(Phrases(entry, answers, setting, top))
            sections.append(Section(entry.key, top("policy", name=entry.report.policy), broken))
    return Document("notices", top.lang, top("title.notices"), tuple(sections))


def _of_entry(entry: Entry, answers: Answers, setting: Setting, lang: str) -> list[Section]:
    sections = []
    for language in [one for one in parts.language_of(entry) if lang in ("", one)]:
        w = Words(language)
        phrases = Phrases(entry, answers, setting, w)
        name = w("policy", name=entry.report.policy)
        key = f"{entry.key}/{language}"
        spoken = (*parts.identity(phrases), *_spoken(phrases, language))
        sections.append(Section(f"{key}/spoken", f"{name}: {w('spoken_notice', language=language)}", spoken))
        title = f"{name}: {w('written', language=language)}"
        if language in LANGUAGES:
            sections.append(Section(f"{key}/written", title, tuple(_written(phrases))))
        else:
            missing = Row("written", w("written", language=language), (w.fill(f"written notice, {language}"),))
            sections.append(Section(f"{key}/written", title, (missing,)))
    return sections


def _spoken(p: Phrases, language: str) -> Iterator[Row]:
    for prompt in sorted(p.entry.report.prompts, key=lambda one: one.id):
        if prompt.language == language:
            label = p.w("spoken", id=prompt.id, version=prompt.version)
            yield Row(f"spoken.{prompt.id}", label, (prompt.text, p.w("audio", sha256=prompt.sha256)))


def _written(p: Phrases) -> Iterator[Row]:
    """GDPR Art. 13(1) and (2)."""
    w, answers, name = p.w, p.answers, p.entry.report.policy
    about = answers.of(name)
    general = {one.key: one for one in parts.general(answers, w, {name}, name).rows}
    yield from (general[key] for key in ("controller", "joint", "representative", "dpo") if key in general)
    yield parts.row(w, "purposes", p.purposes())
    yield parts.row(w, "basis", p.basis())
    if p.get("basis") == "legitimate_interests":
        interest = about.balancing.interest
        yield parts.row(w, "interest", [interest] if interest else [], f"policy.{name}.balancing.interest")
    yield parts.row(w, "recipients", p.recipients())
    yield parts.row(w, "transfers", p.transfers())
    yield parts.row(w, "times", p.times())
    yield parts.row(w, "rights", _rights(p))
    authority = [w("complaint.text", authority=answers.authority)] if answers.authority else []
    yield parts.row(w, "complaint", authority, "authority")
    yield parts.row(w, "obligation", [about.obligation] if about.obligation else [], f"policy.{name}.obligation")
    yield parts.row(w, "automated", [answers.automated] if answers.automated else [], "automated")


def _rights(p: Phrases) -> list[str]:
    """By basis: Art. 7(3), 15 to 21."""
    w, basis = p.w, p.get("basis")
    told = [w("rights.all")]
    told += [w("rights.withdraw")] if basis == "consent" else []
    told += [w("rights.object")] if basis in ("legitimate_interests", "public_task") else []
    return told + ([w("rights.portability")] if basis in ("consent", "contract") else [])
