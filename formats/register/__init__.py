"""The register of processing and its neighbours, made from the policies that edges really run. Pure."""

from formats.register.answers import Answers, parse_answers
from formats.register.build import build
from formats.register.changes import changes
from formats.register.document import KINDS, Document, Row, Section
from formats.register.phrases import Place, Setting
from formats.register.render import FORMS, MEDIA
from formats.register.report import Entry, InForce, PolicyReport, entries, parse_report
from formats.register.words import LANGUAGES

__all__ = [
    "FORMS", "KINDS", "LANGUAGES", "MEDIA", "Answers", "Document", "Entry", "InForce", "Place", "PolicyReport", "Row", "Section",
    "Setting", "build", "changes", "entries", "parse_answers", "parse_report",
]  # fmt: skip
