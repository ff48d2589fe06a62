"""A recording that an edge signed and told central of, its payloads, and uploads of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from central.media.settings import MediaConfig
from central.media.store import MARKER
from formats.manifest import Manifest, SegmentEntry, sign_manifest
from formats.suites import suite_of
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id

AT = "2026-03-01T10:00:00.000Z"


def with_folder(central: TestCentral, **more: Any) -> TestCentral:
    """The same, not started, with a folder for media."""
    data = central.config.data
    media = MediaConfig(
        **{"store": "folder", "keep_free": 0, "folder": data / "media", "incoming": data / "media.incoming", **more}
    )
    central.config = replace(central.config, media=media)
    return central


@asynccontextmanager
async def keeping(folder: Path, **how: Any) -> AsyncIterator[TestCentral]:
    """A central with a folder for media, while it runs. how: as `TestCentral` takes it."""
    central = with_folder(TestCentral(folder, **how))
    await central.start()
    yield central
    await central.stop()


@dataclass
class Told:
    """A recording as its edge tells of it: `payloads` by segment number."""

    edge: TestEdge
    recording_id: str
    segments: list[str]
    payloads: list[bytes]
    manifest: str

    @classmethod
    def make(cls, edge: TestEdge, sizes: tuple[int, ...] = (300_000,)) -> Told:
        recording, suite = an_id(), suite_of("age1")
        segments = [an_id() for _ in sizes]
        payloads = [os.urandom(suite.payload_size(size)) for size in sizes]
        entries = tuple(
            SegmentEntry(
                segment_id=segment, number=n, suite="age1", codec="sln", rate=8000, channels=2, encoding="none",
                frames=size // 4, start_ms=0, duration_ms=size // 4 * 1000 // 8000, plain_bytes=size,
                payload_bytes=len(payload), chunks=suite.chunk_count(size),
                payload_sha512=hashlib.sha512(payload).hexdigest(), tags_hash=os.urandom(32).hex(),
                key_id=os.urandom(32).hex(), state="closed", end_reason="hangup",
            )
            for n, (segment, payload, size) in enumerate(zip(segments, payloads, sizes, strict=True))
        )  # fmt: skip
        manifest = Manifest(
            recording_id=recording, call_id=an_id(), edge_id=edge.edge_id, policy_id="support", policy_version="v1",
            permit_id=an_id(), consent_event=1, ending="complete", started_at=AT, ended_at=AT,
            frames=sum(one.frames for one in entries), software="callwarden 0", segments=entries,
        )  # fmt: skip
        return cls(edge, recording, segments, payloads, sign_manifest(manifest, edge.key))

    async def tell(self, seq: int) -> None:
        """Opened with a key, and sealed: two events from `seq` on."""
        opened = self.edge.opened(seq, self.recording_id, key=os.urandom(32), segment_id=self.segments[0])
        opened.data["purposes"] = ["quality"]
        body = {"recording_id": self.recording_id, "state": "sealed", "ending": "complete", "manifest": self.manifest}
        status, answer = await self.edge.send(
            opened, self.edge.event(seq + 1, "recording.sealed", self.recording_id, body)
        )
        assert (status, [one["status"] for one in answer["items"]]) == (200, ["accepted"] * 2)

    def sha512(self, number: int = 0) -> str:
        return hashlib.sha512(self.payloads[number]).hexdigest()

    def path(self, number: int = 0) -> str:
        return self.edge.path(f"media/{self.sha512(number)}")

    async def put(self, offset: int, piece: bytes, number: int = 0, **other: str) -> tuple[int, Any]:
        names = {"recording_id": self.recording_id, "segment_id": self.segments[number]} | other
        query = "&".join(f"{name}={value}" for name, value in names.items())
        return await self.edge.ask("PUT", f"{self.path(number)}?{query}&offset={offset}", piece)

    async def state(self, number: int = 0) -> dict[str, Any]:
        status, answer = await self.edge.ask("GET", self.path(number))
        assert status == 200, answer
        return dict(answer)

    async def upload(self, number: int = 0, piece: int = 100_000) -> None:
        """As an edge does it: from where central is."""
        payload = self.payloads[number]
        state = await self.state(number)
        while state["state"] != "stored":
            offset = state["offset"]
            status, state = await self.put(offset, payload[offset : offset + piece], number)
            assert status == 200, state


async def fetched(
    central: TestCentral, told: Told, number: int = 0, *, query: str = "purpose=quality&reason=case-7", token: str = "",
    ranges: str = "",
) -> tuple[int, bytes, dict[str, str]]:  # fmt: skip
    """(status, body, headers) of a person's reading."""
    headers = {"Authorization": f"Bearer {token or central.token}"} | ({"Range": ranges} if ranges else {})
    url = f"{central.url}/v1/recordings/{told.recording_id}/segments/{number}/media?{query}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.read(), dict(answer.headers)


def files(folder: Path) -> list[Path]:
    """Every file below, without the marker of a store."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
