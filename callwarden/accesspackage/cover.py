"""The cover page: one HTML file without script, style sheet, picture or link, that any browser and any screen reader shows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from callwarden.accesspackage.cells import visible
from callwarden.accesspackage.cover_words import WORDS, why

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = (
    "body{font:1rem/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}"
    "table{border-collapse:collapse}th,td{border:1px solid #767676;padding:.3rem .6rem;text-align:left}"
)


@dataclass(frozen=True)
class Missing:
    """What was found and is not in the package. what: a call's or recording's id; code, detail: see `cover_words.why`."""

    what: str
    code: str
    detail: str = ""


@dataclass(frozen=True)
class CallLine:
    """A call as the cover tells it."""

    began: str
    line: str
    outcome: str
    seconds: float
    files: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """What the cover says beside its own words."""

    language: str
    ref: str
    received: str
    made: str
    controller: str
    calls: Sequence[CallLine]
    missing: Sequence[Missing]
    purposes: Sequence[str]
    bases: Sequence[str]
    kept: Sequence[str]
    mask: bool
    audio: bool


def html(facts: Facts) -> bytes:
    """The page, UTF-8."""
    words = WORDS[facts.language]
    parts = [f"<h1>{_text(words['title'])}</h1>", f"<p>{_text(words['intro'])}</p>", _facts(facts, words)]
    parts += [f"<h2>{_text(words['calls'])}</h2>", _calls(facts, words), f"<h2>{_text(words['files'])}</h2>"]
    parts += [_files(facts, words), f"<h2>{_text(words['missing'])}</h2>", _missing(facts, words)]
    parts += [
        f"<h2>{_text(words['rights'])}</h2>",
        f"<p>{_text(words['rights_text'])}</p>",
        f"<p>{_text(words['copy'])}</p>",
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="{facts.language}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{_text(words['title'])}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    ).encode()


def _facts(facts: Facts, words: dict[str, str]) -> str:
    said = [
        ("case", facts.ref), ("received", facts.received), ("made", facts.made), ("from", facts.controller),
        ("for", ", ".join(facts.purposes)), ("basis", ", ".join(facts.bases)), ("kept", ", ".join(facts.kept)),
    ]  # fmt: skip
    rows = "".join(
        f"<tr><th scope=row>{_text(words[name])}</th><td>{_text(one)}</td></tr>" for name, one in said if one
    )
    return f"<table>{rows}</table>"


def _calls(facts: Facts, words: dict[str, str]) -> str:
    if not facts.calls:
        return f"<p>{_text(words['nothing'])}</p>"
    names = ("began", "line", "outcome", "recorded", "audio")
    head = "".join(f"<th scope=col>{_text(words[name])}</th>" for name in names)
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{_text(one)}</td>"
            for one in (c.began, c.line, c.outcome, f"{c.seconds:.0f} s", ", ".join(c.files) or words["none"])
        )
        + "</tr>"
        for c in facts.calls
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _files(facts: Facts, words: dict[str, str]) -> str:
    listed = [("calls.csv, consent.csv, listened.csv", "f_csv"), ("calls.xlsx", "f_xlsx"), ("vcon/", "f_vcon")]
    listed += [("consent/", "f_consent")] + ([("audio/", "f_audio")] if facts.audio else [])
    lines = "".join(f"<li><b>{_text(name)}</b>: {_text(words[word])}</li>" for name, word in listed)
    return f"<ul>{lines}</ul>" + (f"<p>{_text(words['f_mask'])}</p>" if facts.mask and facts.audio else "")


def _missing(facts: Facts, words: dict[str, str]) -> str:
    if not facts.missing:
        return f"<p>{_text(words['complete'])}</p>"
    lines = "".join(
        f"<li>{_text(one.what)}: {_text(why(facts.language, one.code, one.detail))}</li>" for one in facts.missing
    )
    return f"<ul>{lines}</ul>"


def _text(value: str) -> str:
    return escape(visible(value))
