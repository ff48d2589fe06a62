"""The process that is killed: an edge whose old journal was put back settles with its central. `restore_child.py FOLDER`
with `prepare` makes both, erases after the backup and puts the old journal back; `pass` is one pass of the executor; `tell` puts central's
database of before back first, and tells it what was erased."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from callwarden.backup import central as backups
from central import setup
from formats.keys import SigningKey
from tests.unit.central.central_kit import TestCentral
from tests.unit.retention.restore_kit import RestoredEdge, keep, put_back

KEY, DPO = (SigningKey.from_seed(bytes([n]) * 32) for n in (0x21, 0x22))


async def prepare(folder: Path, central: TestCentral) -> dict[str, str]:
    setup.register_edge(central.config, "edge-1", KEY.verify_key)
    (folder / "edge").mkdir()
    edge = await RestoredEdge.open(folder / "edge", KEY, central)
    assert edge.sync is not None
    gone, kept = await edge.record(), await edge.record()
    await edge.sync.flush()
    keep(edge.folder, folder / "kept")
    await asyncio.to_thread(
        backups.make, central.config, folder / "central" / "central.toml", folder / "central-backup", lambda *_: None
    )
    later = await edge.record()
    await edge.sync.flush()
    order = await central.signed_order(gone.recording_id)
    await central.admin("POST", "/v1/orders", {"order": order})
    await edge.sync._inbox.poll(0)
    await edge.executor.once()
    await edge.erase(later.recording_id)
    await edge.sync.flush()
    await edge.close()
    put_back(edge.folder, folder / "kept")
    return {"gone": gone.recording_id, "kept": kept.recording_id, "later": later.recording_id}


async def main(folder: Path, what: str) -> None:
    central = TestCentral(folder / "central", dpo=DPO)
    if what == "tell" and not (folder / "told").exists():
        (folder / "told").touch()
        backups.restore(central.config, folder / "central-backup")
    await central.start()
    if what == "prepare":
        print(json.dumps(await prepare(folder, central)))
    else:
        edge = await RestoredEdge.open(folder / "edge", KEY, central)
        await edge.executor.once()
        if what == "tell":
            assert edge.sync is not None
            await edge.sync._inbox.poll(0)
        await edge.close()
    await central.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
