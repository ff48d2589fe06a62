"""A caller's number with the modes `none` and `hashed`: nowhere in what central stores, writes or was sent. Both engines."""

from __future__ import annotations

import asyncio
import json
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from central.errors import CentralError
from central.minimise.ring import read_ring
from rig.postgres import Postgres
from tests.unit.central.central_kit import TestCentral
from tests.unit.store import store_makers as make
from tests.unit.sync.sync_kit import SyncEdge


class RecordingProxy:
    """TCP to central; `seen` is all that went either way."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.seen: list[bytearray] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        for source, sink in ((reader, back), (there, writer)):
            kept = bytearray()
            self.seen.append(kept)
            task = asyncio.create_task(self._pipe(source, sink, kept))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, kept: bytearray) -> None:
        try:
            while data := await source.read(65536):
                kept += data
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # the other side went first
        finally:
            sink.close()

    def plain(self) -> Iterator[bytes]:
        """Everything, and what was compressed in it."""
        for kept in self.seen:
            raw = bytes(kept)
            yield raw
            at = raw.find(b"\x1f\x8b\x08")
            while at >= 0:
                yield zlib.decompressobj(wbits=31).decompress(raw[at:])
                at = raw.find(b"\x1f\x8b\x08", at + 1)


def spellings(e164: str) -> list[bytes]:
    """The digits as people, trunks and hex dumps write them; each holds the nine that make the number."""
    national = e164.removeprefix("+420")
    parted = f"{national[:3]} {national[3:6]} {national[6:]}"
    return [one.encode() for one in (national, parted, parted.replace(" ", "-"), national.encode().hex())]


def files_of(central: TestCentral, server: Postgres | None) -> Iterator[Path]:
    folders = [central.folder, *([server.folder] if server else [])]
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("form", ["none", "hashed", "clear"])
async def test_the_digits_are_nowhere(
    central: TestCentral, engine: str, form: str, tmp_path: Path, request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server: Postgres | None = request.getfixturevalue("server") if engine else None
    number = f"+420777{secrets.randbelow(10**6):06}"  # another for each test: the server is shared
    key = read_ring(central.config.search_keys).newest
    proxy = RecordingProxy(central.config.port)
    edge = await SyncEdge.open(central, tmp_path, url=await proxy.start(), search_key=tmp_path / "search.key")
    try:
        document = json.dumps({"central": {"number": form}})
        heard = number.replace("+", "00")
        recording, _ = await edge.record(
            number_heard=heard, number_e164=number, policy_document=document, policy_version=form
        )
        await edge.sync.flush()
        assert await edge.waiting() == 0
        body = {"number": number, "purpose": "quality", "reason": "a complaint"}
        status, answer = await central.admin("POST", "/v1/calls/search", body)
        assert status == 200
        assert [one["call_id"] for one in answer["calls"]] == ([] if form == "none" else [recording.call_id])
        assert answer["not_searched"]["no_number"] == (1 if form == "none" else 0)
        await central.stop()  # everything is on disk
        sent = b"\n".join(proxy.plain())
        assert recording.call_id.encode() in sent  # the proxy did see what went
        for spelling in spellings(number):
            assert (spelling in sent) == (form == "clear" and spelling == number[4:].encode())
        assert (key.hash(number).encode() in sent) == (form == "hashed")
        assert key.key not in sent
        assert key.key.hex().encode() not in sent
        named = 0
        for path in files_of(central, server):
            if path == central.config.search_keys:
                continue
            content = path.read_bytes()
            named += recording.call_id.encode() in content
            found = [
                one for one in (*spellings(number), key.hash(number).encode(), key.key.hex().encode()) if one in content
            ]
            assert not found, f"{path} has {found}"
        assert named  # central did write of this call, into files that were looked at
        said = "".join(capfd.readouterr())
        assert number[4:] not in said
    finally:
        await edge.close()
        await proxy.stop()


async def test_a_central_that_forgets_a_number_has_it_in_no_file(
    central: TestCentral, engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In clear, too: what opens the row is overwritten, and write-ahead logs and backups have nothing else."""
    server: Postgres | None = request.getfixturevalue("server") if engine else None
    number = f"+420777{secrets.randbelow(10**6):06}"
    edge = await SyncEdge.open(central, tmp_path)
    try:
        document = '{"central":{"number":"clear"}}'
        recording, _ = await edge.record(number_e164=number, policy_document=document, policy_version="c")
        await edge.sync.flush()
        [(slot, sealed)] = await central.rows("SELECT keeper_slot, sealed FROM call_number")
        assert central.running is not None
        shred_key = central.running.central.keeper.read(slot)
        name = recording.recording_id
        await edge.journal.begin_erase(name, None, "retention")
        await edge.journal.finish_erase(name, erased_at=make.AT, cause="retention", key_ids=[], receipt=None)
        await edge.sync.flush()
        assert await central.rows("SELECT * FROM call_number") == []
        with pytest.raises(CentralError, match="holds no key"):
            central.running.central.keeper.read(slot)
        await central.stop()
        for path in files_of(central, server):
            content = path.read_bytes()
            assert shred_key not in content, path
            assert number[4:].encode() not in content, path
        assert sealed
    finally:
        await edge.close()
