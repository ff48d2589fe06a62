"""What a job may do with a database, whichever engine it is: SQLite (`central.sqlite`) or PostgreSQL (`central.postgres`).

The SQL of jobs is what both understand: `?` for values, `ON CONFLICT`, no rowid, no functions of one engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol


class Row(Protocol):
    """One row: by number, by name, iterated as values; `dict(row)` gives names and values."""

    def __getitem__(self, key: Any, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def keys(self) -> Any: ...


class Cursor(Protocol):
    """What a statement found. `rowcount`: rows it changed."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Conn(Protocol):
    """A connection inside a job's transaction."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor: ...
    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor: ...

    def exclusive(self, name: str, /) -> None:
        """Wait until no other transaction holds `name`, and hold it to the end of this one. Nothing where transactions
        follow one another anyway. Take an edge's name before "log"."""
        ...


class Participant(Protocol):
    """What takes part in a transaction beside the database (the keeper), on the transaction's thread."""

    def commit(self) -> None: ...
    def mark(self) -> Any: ...
    def roll_back_to(self, mark: Any) -> None: ...
    def roll_back(self) -> None: ...
    def abandon(self) -> None:
        """Whether the rows are committed is not known."""
        ...
