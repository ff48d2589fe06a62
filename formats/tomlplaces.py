"""Where in a TOML text each key and value stands, so that an error can name file and line. Pure.

tomllib says nothing about positions. This scanner runs only over text that tomllib has accepted, so it assumes valid
TOML and looks for one thing: the line of every key path, array elements included ("policy", "a", "recipients", 1).
"""

from __future__ import annotations

import tomllib

Path = tuple[str | int, ...]


def places(text: str) -> dict[Path, int]:
    """Key path to line number (from 1). A table's own path points at its header, or at its first key without one."""
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Path, int] = {}
        self.arrays: dict[Path, int] = {}

    def run(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(newlines=True):
            if self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.found

    # -- pieces of the grammar

    def _header(self) -> Path:
        line = self._line()
        double = self.text.startswith("[[", self.at)
        self.at += 2 if double else 1
        path = self._resolve(self._key())
        self.at += 2 if double else 1
        if double:
            index = self.arrays.get(path, -1) + 1
            self.arrays[path] = index
            self._mark(path, line)
            path = (*path, index)
        self._mark(path, line)
        return path

    def _resolve(self, key: Path) -> Path:
        """A header's key with the index of the newest element put in wherever it passes through an array of tables."""
        path: Path = ()
        for number, part in enumerate(key):
            path = (*path, part)
            if number < len(key) - 1 and path in self.arrays:
                path = (*path, self.arrays[path])
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = (*table, *self._key())
        for length in range(len(table) + 1, len(path) + 1):
            self._mark(path[:length], line)
        self._expect("=")
        self._value(path)

    def _key(self) -> Path:
        parts: list[str] = []
        while True:
            self._skip()
            if self._peek() in "\"'":
                parts.append(self._string())
            else:
                start = self.at
                while self.at < len(self.text) and (self.text[self.at].isalnum() or self.text[self.at] in "-_"):
                    self.at += 1
                parts.append(self.text[start : self.at])
            self._skip()
            if self._peek() != ".":
                return tuple(parts)
            self.at += 1

    def _value(self, path: Path) -> None:
        self._skip()
        first = self._peek()
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline(path)
        elif first and first in "\"'":
            self._string()
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\n":
                self.at += 1

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self._skip(newlines=True) and self._peek() != "]":
            self._mark((*path, index), self._line())
            self._value((*path, index))
            index += 1
            self._skip(newlines=True)
            if self._peek() == ",":
                self.at += 1
        self.at += 1

    def _inline(self, path: Path) -> None:
        self.at += 1
        while self._skip(newlines=True) and self._peek() != "}":
            self._pair(path)
            self._skip(newlines=True)
            if self._peek() == ",":
                self.at += 1
        self.at += 1

    def _string(self) -> str:
        """Step over a string of any of the four kinds; returns what it says (needed for quoted keys only)."""
        start = self.at
        quote = self.text[self.at]
        fence = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(fence)
        while not self.text.startswith(fence, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(fence)
        if len(fence) == 3:  # up to two quotes may stand before the closing fence
            while self.text.startswith(quote, self.at):
                self.at += 1
        return str(tomllib.loads(f"x = {self.text[start : self.at]}")["x"])

    # -- letters

    def _skip(self, *, newlines: bool = False) -> bool:
        """Pass blanks, and with `newlines` also line ends and comments; False at the end of the text."""
        while self.at < len(self.text):
            here = self.text[self.at]
            if here == "#" and newlines:
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif here in " \t" or (newlines and here in "\r\n"):
                self.at += 1
            else:
                return True
        return False

    def _expect(self, letter: str) -> None:
        self._skip()
        assert self._peek() == letter, "tomllib accepted this text"
        self.at += 1

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def _mark(self, path: Path, line: int) -> None:
        self.found.setdefault(path, line)
