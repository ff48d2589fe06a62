"""docs/configuration.md, made from the docstrings beside the fields. `python -m edge.config.reference` prints it."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, is_dataclass
from dataclasses import fields as fields_of
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from edge.config.adopting import AdoptSection
from edge.config.schema import (
    WAIVABLE,
    Address,
    AgentSection,
    AsteriskSection,
    CentralSection,
    EdgeSection,
    ErasureSection,
    KeysSection,
    NoticesSection,
    TelephonySection,
)
from edge.config.words import toml
from edge.consent.policy import (
    BASES_OF_MODE,
    Capture,
    CentralSharing,
    Choices,
    Match,
    Override,
    Policy,
    Question,
    Retention,
)
from edge.consent.retention import Bound, Bounds, House, Limits
from edge.consent.units import Day, Period, Seconds

_TABLES: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("[edge]", EdgeSection),
    ("[asterisk]", AsteriskSection),
    ("[central]", CentralSection),
    ("[telephony]", TelephonySection),
    ("[agents.NAME]", AgentSection),
    ("[notices]", NoticesSection),
    ("[adopt.NAME]", AdoptSection),
    ("[retention]", House),
    ("[retention] floor and ceiling", Limits),
    ("[erasure]", ErasureSection),
    ("[keys]", KeysSection),
    ("[policy.NAME]", Policy),
    ("[policy.NAME] match", Match),
    ("[policy.NAME] override", Override),
    ("[[policy.NAME.further]]", Question),
    ("[policy.NAME] capture", Capture),
    ("[policy.NAME] retention", Retention),
    ("[policy.NAME] retention purposes.NAME and outcomes.NAME", Bound),
    ("[policy.NAME] central", CentralSharing),
)

_INTRODUCTION = """\
# Configuration of the edge

`/etc/callwarden/edge.toml`, and `conf.d/*.toml` beside it in order of name. All files are one configuration: a key may
be set in one place only. Relative paths are relative to the file that names them. A setting that is not listed here is
an error, as is a secret: secrets lie in files of mode 0600 that are named here. `callwarden config check` reads
everything and looks at what it names; each finding says file, line and what to do. A reload that fails keeps the old
configuration.

Durations are written `"250ms"`, `"5s"`, `"2m"`, `"1h"` or ISO 8601 `"PT5S"`; periods that follow the calendar `"P30D"`,
`"P6M"`, `"P1Y"`.

This page is made from the source (`python -m edge.config.reference > docs/configuration.md`) and a test holds it there.
"""

_KINDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    bool: "true or false",
    Path: "path",
    Seconds: "duration",
    Period: "period",
    Day: "day",
    Choices: "table of text",
    Bounds: "table of tables",
    tuple[Question, ...]: "list of tables",
    Address: "address",
    tuple[str, ...]: "list of text",
    Path | None: "path",
    Day | None: "day",
    Period | None: "period",
    float: "number",
    frozenset[date]: "list of days",
}


def render() -> str:
    """The page as Markdown."""
    out = [_INTRODUCTION]
    for title, kind in _TABLES:
        out += [*section(title, kind, {"name": ""} if kind is Policy else {}), ""]
    out += ["## Checks that can be waived\n", "| name | what is given up |", "|---|---|"]
    out += [f"| `{name}` | {lost} |" for name, lost in WAIVABLE.items()]
    out += ["", "## Modes and legal bases\n", "| mode | stands on |", "|---|---|"]
    for mode, bases in BASES_OF_MODE.items():
        out.append(f"| `{mode}` | {', '.join(f'`{b}`' for b in sorted(bases) if b)} |")
    return "\n".join(out) + "\n"


def section(title: str, kind: type, written_as: Mapping[str, str]) -> Iterator[str]:
    """The lines about one table of TOML. kind: a Struct or dataclass with a docstring after every field; written_as: fields that
    TOML names otherwise, or ("") not at all. Raises TypeError for a field that is not documented."""
    yield f"## `{title}`\n"
    yield _flat(kind.__doc__ or "") + "\n"
    yield "| setting | kind | default | meaning |"
    yield "|---|---|---|---|"
    words = dict(_docstrings(kind))
    for name, wanted, default in _fields(kind):
        if written := written_as.get(name, name):
            cells = (f"`{written}`", _kind(wanted), _default(default), _flat(words[name]))
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _fields(kind: type) -> Iterator[tuple[str, Any, Any]]:
    """(name, type, default or NODEFAULT)."""
    if is_dataclass(kind):
        types = get_type_hints(kind)
        for one in fields_of(kind):
            yield one.name, types[one.name], msgspec.NODEFAULT if one.default is MISSING else one.default
        return
    for field in msgspec.structs.fields(kind):
        made = field.default_factory is not msgspec.NODEFAULT
        yield field.name, field.type, None if made and field.default is msgspec.NODEFAULT else field.default


def _docstrings(kind: type) -> Iterator[tuple[str, str]]:
    """(field, the string that follows it) of a class."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                yield field.target.id, str(after.value.value)
            else:
                raise TypeError(f"{kind.__name__}.{field.target.id} is not documented")


def _kind(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return " or ".join(f"`{toml(word)}`" for word in get_args(wanted) if word != "")
    return _KINDS.get(wanted, "list of text" if get_origin(wanted) is tuple else "table")


def _default(default: Any) -> str:
    if default is msgspec.NODEFAULT:
        return "required"
    if default is None or isinstance(default, msgspec.Struct):
        return ""
    return f"`{toml(default)}`"


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


if __name__ == "__main__":
    print(render(), end="")
