"""A document of the register as a value, before it is a text, a page or a table. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Kind = Literal["register", "dpia", "balancing", "notices", "recipients", "changes"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Row:
    """key: the same in every language; label: in the document's; values: one or more lines."""

    key: str
    label: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """key: "general", a policy with its version, or a policy, version and language."""

    key: str
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """lang: of its words; what people wrote is in the language they wrote it in."""

    kind: str
    lang: str
    title: str
    sections: tuple[Section, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "kind": self.kind,
            "lang": self.lang,
            "title": self.title,
            "sections": [
                {
                    "key": section.key,
                    "title": section.title,
                    "rows": [{"key": row.key, "label": row.label, "values": list(row.values)} for row in section.rows],
                }
                for section in self.sections
            ],
        }
