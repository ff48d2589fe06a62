"""Rows about orders that change what is in force at an edge, and about uploads that central asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class OrderedPolicy:
    """The table of policy `name` as order `jti` brought it ("": the file's own counts again), issued at `iat`. `acting`: it
    is in force; else it waits for `acts_at`."""

    name: str
    jti: str
    toml: str
    iat: str
    acts_at: str
    acting: bool


@dataclass(frozen=True, slots=True)
class PinnedRow:
    """The key set (its document) as order `jti` left it, and the SHA-256 (hex) of the trust file it amends."""

    jti: str
    keyset: str
    file_sha256: str
    iat: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A recording whose ciphertext order `jti` asks for. `result`: "" while it waits, "done", or a code that says why not."""

    recording_id: str
    jti: str
    asked_at: str
    result: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
