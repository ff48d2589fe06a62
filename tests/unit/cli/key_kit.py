"""A daemon's local door with keys in it, and a second reader who is to open what is stored."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from callwarden import keyfiles
from edge.api.server import make_app, serve
from edge.clock import SystemClock
from edge.config import EdgeConfig, load
from edge.config.keyfacts import ConfigKeys
from edge.policybook import PolicyBook
from tests.unit.cli import cli_makers as make


def book(config: EdgeConfig, files: make.Opened) -> PolicyBook:
    async def look(_: EdgeConfig) -> Callable[[], None]:
        return lambda: None

    return PolicyBook(config, files.journal, SystemClock(), look)


@asynccontextmanager
async def served(edge: make.Edge) -> AsyncIterator[make.Opened]:
    """The edge's door as its daemon opens it, under the policies on disk now."""
    config = load(edge.config)
    async with make.opened(edge) as files:
        policies = book(config, files)
        keys = ConfigKeys(lambda: policies.config)
        trust = keyfiles.read_trust(config.edge.trust_file)
        runner = await serve(
            make_app(replace(make.deps(edge, files), trust=trust, keys=keys, reload=policies.reload)),
            config.edge.socket,
        )
        try:
            yield files
        finally:
            await runner.cleanup()


def new_reader(path: Path) -> str:
    """An identity in a file; its recipient."""
    done = make.command("key", "new", "-o", path)
    assert done.code == 0, done.err
    return done.out.strip()


def set_recipients(edge: make.Edge, *recipients: str) -> None:
    """As a person edits the policy: these and no other."""
    file = edge.config.parent / "conf.d" / "support.toml"
    text = file.read_text()
    head, _, rest = text.partition("recipients = [")
    _, _, tail = rest.partition("]")
    file.write_text(head + "recipients = [" + ", ".join(f'"{one}"' for one in recipients) + "]" + tail)


def header_rows(edge: make.Edge) -> list[tuple[str, int, int, int]]:
    """(segment, version, slot, bytes of the sealed header) of every header row."""
    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        return conn.execute(
            "SELECT segment_id, version, slot, length(sealed_header) FROM header ORDER BY segment_id, version"
        ).fetchall()
