"""Errors about values in the words of TOML: what may stand there instead. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args, get_origin

import msgspec

from edge.config.files import Key
from edge.consent.policy_tables import Choices
from edge.consent.retention import Bounds
from edge.consent.units import Seconds


def example(kind: type[msgspec.Struct], spot: Key) -> str:
    """What may stand at `spot` of a table: the words of a choice, or the default as an example."""
    for name in spot:
        field = next((f for f in msgspec.structs.fields(kind) if f.name == name), None)
        if field is None:
            break
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            kind = field.type
            continue
        if get_origin(field.type) is Literal:
            return f"{name} is one of {', '.join(toml(choice) for choice in get_args(field.type))}"
        return f"for example {name} = {toml(field.default)}"
    return "docs/configuration.md lists every setting"


def toml(value: object) -> str:
    """A default as it would be written."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Seconds):
        return f'"{value:g}s"'
    if isinstance(value, Choices):
        return "{ " + ", ".join(f'"{key}" = "{text}"' for key, text in value.items()) + " }" if value else "{}"
    if isinstance(value, Bounds):
        return "{}"
    if isinstance(value, tuple | frozenset):
        return f"[{', '.join(toml(v) for v in value)}]"
    if isinstance(value, str | Path):
        return f'"{value}"'
    return "…" if value is None or value is msgspec.NODEFAULT else str(value)


_WORDS = {
    "`str`": "text in quotes",
    "`array`": "a list",
    "`object`": "a table",
    "`bool`": "true or false",
    "`int`": "a whole number",
    "`float`": "a number",
}


def plain_words(message: str) -> str:
    """msgspec's types in the words of TOML."""
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return message[:1].lower() + message[1:]
