"""The rig's phone: it hears what Asterisk plays, and Asterisk hears its RFC 4733 keys."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rig.agent import AGENT_VOICE, Line
from rig.asterisk import Asterisk, start_asterisk
from rig.checker import cdr_of
from rig.pbx_dialplan import DialplanSettings
from rig.phone import Phone
from rig.tones import AGENT, CALLER, check, listen, tone

pytestmark = pytest.mark.asterisk


@pytest.fixture
def pbx(rig_folder: Path) -> Iterator[Asterisk]:
    """An Asterisk whose extension `keys` waits 1 s, says beep, and keeps the four keys it was given."""
    run = rig_folder / "phone"
    heard = (
        "exten => keys,1,Answer()\n same => n,Wait(1)\n same => n,Read(K,beep,4,,1,5)\n"
        " same => n,Set(CDR(userfield)=key ${K})\n same => n,Hangup()\n"
    )
    started = start_asterisk(run, dialplan=DialplanSettings(run / "monitor", extra=heard))
    yield started
    started.stop()


async def test_keys_after_a_prompt_it_heard(pbx: Asterisk) -> None:
    phone = await Phone.dial(pbx, "keys", number="601", voice=tone(1))
    began = await phone.hear()
    assert phone.answered_at is not None
    assert 0.8 < began - phone.answered_at < 1.6
    await phone.quiet(0.3)
    for key in "15*9":
        await phone.press(key)
    await phone.ended()
    assert phone.ended_by == "pbx"
    [record] = cdr_of(pbx, "601")
    assert record["userfield"] == "key 15*9"


async def test_both_hear_each_other(line: Line) -> None:
    phone = await Phone.dial(line.pbx, "1018", number="602", voice=tone(2))
    await phone.hear()
    await asyncio.sleep(4)
    await phone.hang_up()
    heard = check(listen(phone.audio(), AGENT), AGENT_VOICE, AGENT)
    assert heard.clean, heard
    assert heard.seconds >= 4
    [record] = cdr_of(line.pbx, "602")
    pcm = np.fromfile(line.pbx.monitor / f"{record['uniqueid']}.raw", dtype=np.int16)
    said = check(listen(pcm[::2], CALLER), 2, CALLER)
    assert said.clean, said


async def test_a_refusal_is_told(line: Line) -> None:
    phone = await Phone.dial(line.pbx, "nowhere", number="603")
    assert phone.refused == 404
