"""Reading TOML files into one tree that remembers where every key stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import CallwardenError
from formats.tomlplaces import places

Key = tuple[str | int, ...]


class Source:
    """All files of a configuration: `tree` of tables, `where` ("file:line") and `base` (folder) of each key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree: dict[str, Any] = {}
        self.where: dict[Key, str] = {}
        self.base: dict[Key, Path] = {}

    def take(self, file: Path, instead: str | None = None) -> None:
        """Add a file, or the text `instead` of what it holds. Raises CallwardenError `config.*` when it cannot be read or repeats a key."""
        try:
            text = file.read_text(encoding="utf-8") if instead is None else instead
            tree = tomllib.loads(text)
            msgspec.msgpack.encode(tree)  # what is nested too deeply, or no number of 64 bits, ends here
            list(leaves(tree))
            lines = places(text)
            self._merge(file, {key: f"{file}:{line}" for key, line in lines.items()}, tree)
        except FileNotFoundError as e:
            hint = "callwarden init writes one; --config names another"
            raise CallwardenError("config.missing", "there is no configuration", hint=hint, where=str(file)) from e
        except (OSError, UnicodeDecodeError) as e:
            raise CallwardenError("config.unreadable", f"cannot be read: {e}", where=str(file)) from e
        except tomllib.TOMLDecodeError as e:
            at = re.search(r"\(at line (\d+), column (\d+)\)", str(e))
            place = f"{file}:{at[1]}" if at else str(file)
            raise CallwardenError(
                "config.syntax", f"not TOML: {e}", hint="quotes around text, one key per line", where=place
            ) from e
        except RecursionError as e:
            hint = "no setting is nested deeper than a table in a table"
            raise CallwardenError("config.syntax", "it is nested too deeply", hint=hint, where=str(file)) from e
        except (OverflowError, ValueError) as e:  # Python's own bound on digits is a ValueError
            hint = "no setting is that large"
            raise CallwardenError("config.syntax", "a number has more than 64 bits", hint=hint, where=str(file)) from e

    def replace(self, key: Key, file: Path, text: str | None) -> None:
        """What stands at a table `key` is not there; in its place what `text` says, as if it stood in `file` (None: nothing).
        Raises CallwardenError `config.*`, also where `text` says anything else."""
        table = self.tree
        for part in key[:-1]:
            inner = table.get(str(part))
            if not isinstance(inner, dict):
                break
            table = inner
        else:
            table.pop(str(key[-1]), None)
        for known in (self.where, self.base):
            for spot in [one for one in known if one[: len(key)] == key]:
                del known[spot]
        if text is None:
            return
        other = Source(file)
        other.take(file, text)
        for leaf, _ in leaves(other.tree):
            if leaf[: len(key)] != key:
                hint = f"an order brings the table [{dotted(key)}] alone"
                raise other.error(leaf, "config.order", f"{dotted(leaf)} is outside of it", hint=hint)
        self.take(file, text)

    def _merge(self, file: Path, where: dict[Key, str], tree: dict[str, Any]) -> None:
        """Tables of all files become one; a key set in two places is an error that names both."""
        for key, value in leaves(tree):
            target = self.tree
            for part in key[:-1]:
                target = target.setdefault(str(part), {})
                if not isinstance(target, dict):
                    raise self.error(
                        key,
                        "config.type",
                        f"{dotted(key)} is a table here and a value elsewhere",
                        where=where.get(key, str(file)),
                    )
            if key[-1] in target and (value != {} or target[str(key[-1])] != {}):
                first = self.where.get(key, "elsewhere")
                raise self.error(
                    key,
                    "config.twice",
                    f"{dotted(key)} is set a second time",
                    hint=f"it is set at {first}",
                    where=where.get(key, str(file)),
                )
            target[str(key[-1])] = value
            self.base[key] = file.parent
        for spot, place in where.items():
            self.where.setdefault(spot, place)

    def error(self, key: Key, code: str, message: str, *, hint: str = "", where: str = "") -> CallwardenError:
        """An error that points at a key, at its nearest table, or at the main file."""
        place = where
        for length in range(len(key), 0, -1):
            place = place or self.where.get(key[:length], "")
        return CallwardenError(code, message, hint=hint, where=place or str(self.path))


def leaves(tree: Mapping[str, Any], at: Key = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(key path, value) of everything that is not a table; an empty table counts as a value."""
    for name, value in tree.items():
        path: tuple[str, ...] = (*(str(p) for p in at), name)
        if isinstance(value, dict) and value:
            yield from leaves(value, path)
        else:
            yield path, value


def dotted(key: Key) -> str:
    """A key path as TOML writes it."""
    return ".".join(str(part) for part in key)
