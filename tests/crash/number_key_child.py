"""The process that is killed while the key of remembered numbers is made. usage: number_key_child.py FOLDER.

It sweeps slots as a start of the daemon does, then prints the HMAC of one number and how many live slots there are.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from edge.number_key import NumberKey
from edge.vault.slots import ShredSlots
from tests.unit.store.store_makers import open_journal


async def main(folder: Path) -> None:
    journal = await open_journal(folder / "journal.db")
    slots = ShredSlots.open(
        str(folder / "shred.keys"), owner=journal.instance_id, count=64, allow_copy_on_write=True
    )  # fmt: skip
    slots.sweep(await journal.slots_in_use())
    key = NumberKey(journal, slots)
    assert (await key.known("+420608777001") is None) == (await journal.memory_slot() is None)
    first, second = await asyncio.gather(key.digest("+420608777001"), key.digest("+420608777001"))
    assert first == second == await key.known("+420608777001")
    print(first, slots.counts()["live"])
    await journal.close()
    await slots.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
