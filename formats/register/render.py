"""A document as text, as one page of HTML, or as CSV. Pure. Names and reasons are hostile here: each form has one encoder."""

from __future__ import annotations

import csv
import html
import io
import unicodedata
from collections.abc import Callable
from typing import Final

from formats.register.document import Document

#: A spreadsheet takes a cell that begins so for a formula, also in full width (OWASP, CSV injection).
_FORMULA: Final = frozenset("=+-@")
_STYLE: Final = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "dt{font-weight:bold;margin-top:.6rem}dd{margin:0 0 0 1.5rem;overflow-wrap:anywhere;white-space:pre-wrap}"
)


def text(document: Document) -> str:
    """For a terminal or a mail."""
    lines = [line(document.title), ""]
    for section in document.sections:
        lines += [line(section.title), "-" * len(line(section.title))]
        for row in section.rows:
            if len(row.values) == 1:
                lines.append(f"{line(row.label)}: {line(row.values[0])}")
            else:
                lines += [f"{line(row.label)}:", *(f"  - {line(value)}" for value in row.values)]
        lines.append("")
    return "\n".join(lines)


def line(value: str) -> str:
    """The encoder of the text form: nothing but characters that print, so that no value can begin a line of its own."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in value)


def page(document: Document) -> str:
    """A whole page, without scripts and without anything from elsewhere."""
    out = [
        "<!doctype html>",
        f'<html lang="{escaped(document.lang)}"><head><meta charset="utf-8">',
        f"<title>{escaped(document.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escaped(document.title)}</h1>",
    ]
    for section in document.sections:
        out.append(f"<section><h2>{escaped(section.title)}</h2><dl>")
        for row in section.rows:
            values = "".join(f"<dd>{escaped(value)}</dd>" for value in row.values)
            out.append(f"<dt>{escaped(row.label)}</dt>{values}")
        out.append("</dl></section>")
    return "\n".join([*out, "</body></html>", ""])


def escaped(value: str) -> str:
    """The encoder of HTML, for text and for attributes in double quotes; what no page may hold (controls, lone surrogates)
    is shown as text."""
    shown = "".join(
        c if c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000)
        else c.encode("unicode_escape").decode()
        for c in value
    )  # fmt: skip
    return html.escape(shown, quote=True)


def table(document: Document) -> str:
    """RFC 4180, one line per value: document, section, key, label, value."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(["document", "section", "key", "label", "value"])
    for section in document.sections:
        for row in section.rows:
            for value in row.values:
                cells = (document.kind, section.key, row.key, row.label, value)
                writer.writerow([cell(one) for one in cells])
    return out.getvalue()


def cell(value: str) -> str:
    """The encoder of CSV: one line of what prints, and what a spreadsheet would compute is text by an apostrophe before it."""
    shown = line(value)
    first = unicodedata.normalize("NFKC", shown.lstrip(" \u00a0\"'`")[:1])[:1]
    return f"'{shown}" if first in _FORMULA else shown


#: Form to what makes it; JSON is `Document.plain`.
FORMS: Final[dict[str, Callable[[Document], str]]] = {"text": text, "html": page, "csv": table}
MEDIA: Final = {
    "text": "text/plain",
    "html": "text/html",
    "csv": "text/csv",
    "json": "application/json",
}
