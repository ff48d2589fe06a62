"""Kill -9 at every step of central's media orders, beside a folder and beside a bucket: whatever the edge does next, what was stored
stays, what was erased goes, and nothing lies anywhere that no row names."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from central import config
from central.media import leaving
from central.media.store import MARKER, key_of
from formats.keys import SigningKey
from tests.unit.central.central_kit import TestCentral, TestEdge
from tests.unit.central.media_kit import Told, files
from tests.unit.central.s3_kit import config_of

CHILD = """
import asyncio, json, pathlib, sys
from datetime import timedelta
from central import config
from central.media import leaving
from formats.keys import SigningKey
from tests.unit.central.central_kit import TestCentral, TestEdge
from tests.unit.central.media_kit import Told
async def main():
    said = json.loads(pathlib.Path(sys.argv[1]).read_text())
    central = TestCentral.__new__(TestCentral)
    central.config, central.running, central.tls = config.load(pathlib.Path(said["config"])), None, False
    central.offset = timedelta(days=said["days"])
    await central.start()
    edge = TestEdge(central, key=SigningKey.from_seed(bytes.fromhex(said["seed"])), enrol=False)
    told = Told(edge, said["recording"], said["segments"], [bytes.fromhex(one) for one in said["payloads"]], "")
    if said["what"] == "removal":
        await edge.ask("POST", edge.path("keeper/shred"), {"recording_id": told.recording_id, "key_ids": [], "jti": None})
        await leaving.remove_all(central.running.central)
    elif said["what"] == "sweep":
        await leaving.sweep(central.running.central)
    else:
        await told.upload()
asyncio.run(main())
"""
#: Steps of the write orders of docs/invariants.md: upload, removal, sweep. Of a folder, of a bucket, and what is behind both.
UPLOAD = ["media.expected", "media.piece_synced:2", "media.checked", "media.put", "media.settled", "media.part_removed"]
PUTTING = {"folder": ["media.folder_written"], "s3": ["media.bucket_put"]}
REMOVAL = ["media.removed", "media.part_gone", "media.stated"]
SWEEP = ["media.claimed", "media.taken_away"]
POINTS = [*UPLOAD, *PUTTING["folder"], *PUTTING["s3"], *REMOVAL, "media.bucket_deleted", *SWEEP]
KILLS = [
    *((kind, "upload", point) for kind, more in PUTTING.items() for point in (*UPLOAD, *more)),
    *((kind, "removal", point) for kind in PUTTING for point in REMOVAL),
    ("s3", "removal", "media.bucket_deleted"), ("s3 versioned", "removal", "media.bucket_deleted"),
    *((kind, "sweep", point) for kind in PUTTING for point in SWEEP),
]  # fmt: skip
#: Behind these an upload is stored, though its edge never heard so.
KEPT = ("media.settled", "media.part_removed")
WEEK = timedelta(days=8)


@dataclass
class Scene:
    """A central whose store is a folder or a bucket, set by its file as an operator does."""

    central: TestCentral
    client: Any = None

    @classmethod
    def make(cls, kind: str, folder: Path, request: pytest.FixtureRequest) -> Scene:
        central, lines = TestCentral(folder / "central"), ["[central.media]", "keep_free = 0"]
        client = None
        if kind == "folder":
            lines.append('store = "folder"')
        else:
            found = request.getfixturevalue("service")
            media, client = config_of(found, folder), found[0]
            lines += ['store = "s3"', f'endpoint = "{media.endpoint}"', f'bucket = "{media.bucket}"']
            lines += [f'access_key = "{media.access_key}"', f'secret_key = "{media.secret_key}"']
            if kind == "s3 versioned":
                client.put_bucket_versioning(Bucket=media.bucket, VersioningConfiguration={"Status": "Enabled"})
                lines.append("versioned = true")
        with central.made.config_path.open("a") as file:
            file.write("\n".join([*lines, ""]))
        central.config = config.load(central.made.config_path)
        return cls(central, client)

    @property
    def store(self) -> Any:
        assert self.central.running is not None
        assert self.central.running.central.media is not None
        return self.central.running.central.media.store

    def lies(self) -> dict[str, bytes]:
        """Everything in the store but its marker, and in a bucket every version of it: by key."""
        media = self.central.config.media
        if self.client is None:
            return {str(path.relative_to(media.folder)): path.read_bytes() for path in files(media.folder)}
        listed = self.client.list_object_versions(Bucket=media.bucket)
        found = {one["Key"]: b"deleted" for one in listed.get("DeleteMarkers", [])}
        for one in listed.get("Versions", []):
            key = one["Key"]
            found[key] = self.client.get_object(Bucket=media.bucket, Key=key, VersionId=one["VersionId"])["Body"].read()
        return {key: data for key, data in found.items() if key != MARKER}

    def put_back(self, kept: Path, lay: dict[str, bytes]) -> None:
        """As it was when it was killed. A folder for media is within central's own."""
        shutil.rmtree(self.central.folder)
        shutil.copytree(kept, self.central.folder)
        if self.client is not None:
            bucket = self.central.config.media.bucket
            for key in self.lies():
                self.client.delete_object(Bucket=bucket, Key=key)
            for key, data in lay.items():
                self.client.put_object(Bucket=bucket, Key=key, Body=data)

    async def week_later(self) -> None:
        assert self.central.running is not None
        self.central.offset += WEEK
        await leaving.sweep(self.central.running.central)
        assert files(self.central.config.media.incoming) == []
        assert await self.central.rows("SELECT sha512 FROM media_claim") == []


@pytest.mark.parametrize(("kind", "what", "point"), KILLS)
async def test_killed_at(kind: str, what: str, point: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    scene, seed = Scene.make(kind, tmp_path, request), os.urandom(32)
    central = scene.central
    await central.start()
    told = Told.make(TestEdge(central, key=SigningKey.from_seed(seed)))
    await told.tell(1)
    key, source = key_of("pbx-1", told.sha512()), tmp_path / "source"
    source.write_bytes(told.payloads[0])
    if what == "removal":
        await told.upload()
    if what == "sweep" or kind == "s3 versioned":  # under no row; one more version
        await scene.store.put(key, source, len(told.payloads[0]))
    await central.stop()
    said = {
        "config": str(central.made.config_path), "seed": seed.hex(), "recording": told.recording_id, "what": what,
        "segments": told.segments, "payloads": [one.hex() for one in told.payloads],
        "days": WEEK.days if what == "sweep" else 0,
    }  # fmt: skip
    (tmp_path / "said").write_text(json.dumps(said))
    words = [sys.executable, "-c", CHILD, str(tmp_path / "said")]
    environment = {**os.environ, "CALLWARDEN_FAILPOINT": point}
    done = subprocess.run(words, env=environment, cwd=os.getcwd(), check=False, timeout=120, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    kept, lay = tmp_path / "killed", scene.lies()
    shutil.copytree(central.folder, kept)
    for after in {"upload": (goes_on, stays_away, is_erased), "removal": (is_gone,), "sweep": (swept,)}[what]:
        scene.put_back(kept, lay) if what == "upload" else None
        central.offset = WEEK if what == "sweep" else timedelta(0)
        await central.start()
        try:
            await after(scene, told, {key: told.payloads[0]}, point)
        finally:
            await central.stop()


async def goes_on(scene: Scene, told: Told, whole: dict[str, bytes], point: str) -> None:
    """The edge comes again."""
    await told.upload()
    assert scene.lies() == whole
    assert await scene.central.rows("SELECT state FROM media") == [("stored",)]
    await scene.week_later()
    assert scene.lies() == whole


async def stays_away(scene: Scene, told: Told, whole: dict[str, bytes], point: str) -> None:
    """The edge never comes again: what was not stored goes."""
    await scene.week_later()
    stored = point in KEPT
    assert scene.lies() == (whole if stored else {})
    assert await scene.central.rows("SELECT state FROM media") == ([("stored",)] if stored else [])


async def is_erased(scene: Scene, told: Told, whole: dict[str, bytes], point: str) -> None:
    """A tombstone comes next."""
    body = {"recording_id": told.recording_id, "key_ids": [], "jti": None}
    assert (await told.edge.ask("POST", told.edge.path("keeper/shred"), body))[0] == 200
    await is_gone(scene, told, whole, point)


async def is_gone(scene: Scene, told: Told, whole: dict[str, bytes], point: str) -> None:
    """Nothing of it lies anywhere, central says so, and takes it no more."""
    assert scene.central.running is not None
    await leaving.remove_all(scene.central.running.central)
    await scene.week_later()
    assert scene.lies() == {}
    assert await scene.central.rows("SELECT state, statement IS NULL FROM media") == [("gone", 0)]
    assert (await told.put(0, told.payloads[0]))[1]["code"] == "media.erased"


async def swept(scene: Scene, told: Told, whole: dict[str, bytes], point: str) -> None:
    """Under the claim of a sweep that was killed nothing comes; once it is forgotten it does."""
    assert (await told.put(0, told.payloads[0]))[1]["code"] == "media.busy"
    await scene.week_later()
    assert scene.lies() == {}
    await told.upload()
    assert scene.lies() == whole
