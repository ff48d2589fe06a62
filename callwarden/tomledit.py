"""Adding one value to a TOML file that a person wrote: their comments and their order stay. Pure.

Every edit is read back and compared with what was meant; what cannot be edited safely is refused.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any

from edge.errors import CallwardenError
from formats.tomlplaces import places

Key = tuple[str, ...]


def add_to_list(text: str, key: Key, value: str) -> str:
    """`text` with `value` at the end of the list at `key`, which is made where it is not there. Raises config.edit."""
    wanted = tomllib.loads(text)
    table = _table(wanted, key[:-1])
    before = table.setdefault(key[-1], [])
    if not isinstance(before, list):
        raise _cannot(key)
    table[key[-1]] = [*before, value]
    new = _into_list(text, key, value) if key in places(text) else _new_line(text, key, f"[{_quoted(value)}]")
    return _checked(new, wanted, key)


def set_text(text: str, key: Key, value: str) -> str:
    """`text` with the text `value` at `key`, which must not be there yet. Raises config.edit."""
    wanted = tomllib.loads(text)
    table = _table(wanted, key[:-1])
    if key[-1] in table:
        raise _cannot(key)
    table[key[-1]] = value
    for new in (_new_line(text, key, _quoted(value)), _beside(text, key, value), _inside(text, key, value)):
        try:
            return _checked(new, wanted, key)
        except CallwardenError:
            continue  # the table is written in another way
    raise _cannot(key)


def _beside(text: str, key: Key, value: str) -> str:
    """Below the first line of a table that is written with dotted keys (`months."2026-11" = …`)."""
    lines = text.splitlines(keepends=True)
    number = places(text).get(key[:-1], 0)
    line = f"{_spelled(key[-2])}.{_spelled(key[-1])} = {_quoted(value)}\n"
    return "".join([*lines[:number], line, *lines[number:]])


def _inside(text: str, key: Key, value: str) -> str:
    """Before the brace that ends a table of one line (`months = { … }`)."""
    lines = text.splitlines(keepends=True)
    number = max(places(text).get(key[:-1], 0) - 1, 0)
    head, brace, tail = (lines[number] if lines else "").rpartition("}")
    comma = "" if head.rstrip().endswith("{") else ","
    new = f"{head.rstrip()}{comma} {_spelled(key[-1])} = {_quoted(value)} {brace}{tail}"
    return "".join([*lines[:number], new, *lines[number + 1 :]])


def _spelled(part: str) -> str:
    """A key as TOML writes it: bare where it can be."""
    return part if part.isascii() and part.replace("-", "").replace("_", "").isalnum() else _quoted(part)


def _table(tree: dict[str, Any], key: Key) -> dict[str, Any]:
    for part in key:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise _cannot(key)
    return tree


def _checked(new: str, wanted: dict[str, Any], key: Key) -> str:
    try:
        got = tomllib.loads(new)
    except tomllib.TOMLDecodeError as error:
        raise _cannot(key) from error
    if got != wanted:
        raise _cannot(key)
    return new


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cannot(key: Key) -> CallwardenError:
    return CallwardenError(
        "config.edit", f"{'.'.join(key)} cannot be changed here without guessing", hint="write it by hand, as printed"
    )


def _into_list(text: str, key: Key, value: str) -> str:
    """Behind the last value of the list; on a line of its own where the last one has one."""
    lines = text.splitlines(keepends=True)
    start = sum(len(line) for line in lines[: places(text)[key] - 1])
    begin = text.find("[", text.find("=", start))
    end, last = _end_of_list(text, begin, key)
    if last is None:
        return f"{text[: begin + 1]}{_quoted(value)}{text[begin + 1 :]}"
    comma = text[last:end].lstrip().startswith(",")
    at = text.index(",", last) + 1 if comma else last
    head, tail = text[:at] + ("" if comma else ","), text[at:]
    line_start = text.rfind("\n", 0, last) + 1
    if line_start <= begin:  # all on one line
        return f"{head} {_quoted(value)}{tail}"
    indent = text[line_start : len(text) - len(text[line_start:].lstrip(" \t"))]
    rest, newline, below = tail.partition("\n")  # a comment behind the last value stays with it
    return f"{head}{rest}{newline}{indent}{_quoted(value)},\n{below}"


def _end_of_list(text: str, begin: int, key: Key) -> tuple[int, int | None]:
    """(place of the closing bracket, end of the last value or None) of a list of plain texts."""
    at, last = begin + 1, None
    while at < len(text):
        letter = text[at]
        if letter == "#":
            at = text.find("\n", at)
            if at < 0:
                break
        elif letter in "\"'":
            if text.startswith(letter * 3, at):
                break
            close = at + 1
            while text[close] != letter:
                close += 2 if text[close] == "\\" and letter == '"' else 1
            at = last = close + 1
            continue
        elif letter == "]":
            return at, last
        elif letter not in " \t\r\n,":
            break
        at += 1
    raise _cannot(key)


def _new_line(text: str, key: Key, value: str) -> str:
    """`key = value` below its table's header, or below a new header at the end."""
    header = "[" + ".".join(_spelled(part) for part in key[:-1]) + "]"
    lines = text.splitlines(keepends=True)
    line = f"{_spelled(key[-1])} = {value}\n"
    for number, one in enumerate(lines):
        if one.split("#")[0].strip() == header:
            if not one.endswith("\n"):
                lines[number] = one + "\n"
            return "".join([*lines[: number + 1], line, *lines[number + 1 :]])
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}\n{header}\n{line}"
