"""The process that is killed: text notices from a journal. usage: notices_child.py FOLDER prepare|pass URL"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

import aiohttp

from edge.notices.rules import Rules
from edge.notices.sender import Notices, Settings
from edge.notices.webhook import read_keys
from tests.contract.test_webhook import SECRET
from tests.unit.store import store_makers as makers


async def digest(number: str) -> str:
    return "00" * 32


async def main() -> None:
    folder, what, url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    clock = makers.SystemClock()
    journal = await makers.open_journal(folder / "journal.db")
    if what == "prepare":
        started = (clock.wall() - timedelta(seconds=30)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        call = makers.call(policy_document='{"text_notice":"end"}', started_at=started)
        await journal.open_call(call)
        new = makers.recording(call.call_id, 1)
        await journal.grant(call.call_id, makers.event("given"), new.permit_id, ("quality",), new)
        await journal.end_call(call.call_id, clock.wall_text())
        print(call.call_id)
    else:
        settings = Settings(url, read_keys(SECRET), "", Rules(countries=("CZ",), country="CZ", per_hour=5))
        async with aiohttp.ClientSession() as session:
            await Notices(journal, clock, lambda: settings, digest, lambda: 0.0).once(session)
    await journal.close()


asyncio.run(main())
