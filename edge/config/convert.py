"""From TOML tables to our values: what is not known, missing or of the wrong kind is refused where it stands."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from edge.config.files import Key, Source, dotted
from edge.config.schema import Address
from edge.config.words import example, plain_words
from edge.consent.policy import Bounds, Choices
from edge.consent.units import Day, Period, Seconds
from edge.errors import CallwardenError
from formats.credentials import credential

T = TypeVar("T", bound=msgspec.Struct)


def convert(source: Source, key: Key, table: dict[str, Any], kind: type[T]) -> T:
    """The table at `key` as a value. Raises CallwardenError config.* with file, line and fix."""
    _refuse_unknown(source, key, table, kind)
    plain = {name: _absolute(source, (*key, name), value, kind) for name, value in table.items()}
    try:
        return msgspec.convert(plain, kind, dec_hook=_read)
    except msgspec.ValidationError as e:
        message, _, inner = str(e).partition(" - at `$")
        spot = (*key, *parts(inner.rstrip("`").strip(".").replace("[", ".").replace("]", "")))
        if missing := re.search(r"missing required field `(\w+)`", message):
            message = f"{dotted((*spot, missing[1]))} is missing"
            raise source.error(spot, "config.missing_key", message, hint=f"add {missing[1]} = …") from e
        hint = example(kind, spot[len(key) :])
        raise source.error(spot, "config.value", f"{dotted(spot)}: {plain_words(message)}", hint=hint) from e


def unknown(source: Source, key: Key, known: list[str]) -> CallwardenError:
    """The error for a setting that does not exist, with a guess at what was meant."""
    near = difflib.get_close_matches(str(key[-1]), [k for k in known if k != key[-1]], 1)
    others = ", ".join(sorted(k for k in known if k != key[-1]))
    hint = f'did you mean "{near[0]}"?' if near else f"known here: {others}"
    return source.error(key, "config.unknown_key", f"there is no setting {dotted(key)}", hint=hint)


def fields(kind: type[msgspec.Struct]) -> list[str]:
    """Names of a table's settings."""
    return [field.name for field in msgspec.structs.fields(kind)]


def parts(dotted_key: str) -> Key:
    """A key path from its dotted form; numbers are places in a list."""
    return tuple(int(p) if p.isdecimal() else p for p in dotted_key.split(".") if p)


def _absolute(source: Source, key: Key, value: Any, kind: type[msgspec.Struct]) -> Any:
    """A path's text made absolute against the folder of the file that wrote it."""
    hints = {field.name: field.type for field in msgspec.structs.fields(kind)}
    if hints.get(str(key[-1])) in (Path, Path | None) and isinstance(value, str):
        if not value:
            hint = "name a path, or leave the key out"
            raise source.error(key, "config.value", f"{dotted(key)} is empty", hint=hint)
        if str(key[-1]).endswith("_file"):
            try:
                if (found := credential(value, os.environ)) is not None:
                    return found
            except ValueError as e:
                hint = 'for example "credential:edge.key", with LoadCredential=edge.key:… in the unit'
                raise source.error(key, "config.value", f"{dotted(key)}: {e}", hint=hint) from e
        return Path(source.base.get(key, source.path.parent) / value)
    return value


def _refuse_unknown(source: Source, key: Key, table: Mapping[str, Any], kind: type[msgspec.Struct]) -> None:
    known = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for name, value in table.items():
        if name not in known:
            raise unknown(source, (*key, name), list(known))
        inner = _struct_in(known[name])
        if inner is None:
            continue
        if isinstance(value, dict):
            _refuse_unknown(source, (*key, name), value, inner)
        elif isinstance(value, list):
            for number, element in enumerate(value):
                if isinstance(element, dict):
                    _refuse_unknown(source, (*key, name, number), element, inner)


def _struct_in(wanted: Any) -> type[msgspec.Struct] | None:
    """The table a field holds: plainly, perhaps (`X | None`), or as a list of them."""
    for kind in (wanted, *get_args(wanted)):
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return kind
    return None


def _read(wanted: type, value: object) -> object:
    """msgspec's door for our own types; a ValueError's sentence becomes the error's."""
    if wanted in (Seconds, Period, Day, Choices, Bounds, Address):
        return wanted.parse(value)
    if not isinstance(value, Path):
        raise ValueError(f"expected a path in quotes, not {value!r}")  # noqa: TRY004 - one kind of error for all
    return value
