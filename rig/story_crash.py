"""The demo's second act: the daemon is killed with -9 in the middle of a recorded call, and comes back."""

from __future__ import annotations

import asyncio
import time

from rig.scenarios import Press, Step, Wait
from rig.story import soon
from rig.story_audio import exported, same_voices
from rig.story_calls import ended_well
from rig.story_scene import BYTE_RATE, HEARD_ENOUGH_S, Scene
from rig.story_watch import SpoolWatch

#: The caller talks so long after the key, seconds: six before the kill, the rest during it and after.
_TALK_S = 19
_DEAD_S = 2.5


async def killed_in_mid_call(scene: Scene) -> str:
    """The act; the recording's id. Raises ClaimFailed."""
    story, dave = scene.story, scene.caller("Dave")
    story.act("A fourth caller agrees; the recording daemon is killed with kill -9 while he talks")
    async with SpoolWatch(scene.stack) as watch:
        steps: list[Step] = [Wait(round(HEARD_ENOUGH_S * 1000)), Press("1"), Wait(_TALK_S * 1000)]
        call = asyncio.create_task(scene.call(dave, steps))
        try:
            await soon(lambda: watch.alive and len(watch.alive[0].heard) > 5 * BYTE_RATE, within=25, every=0.05)
            story.claim("Dave's call is being recorded", len(watch.alive) == 1)
            [file] = watch.alive
            daemon = scene.stack.process("edge")
            assert daemon is not None
            await asyncio.to_thread(daemon.kill)
            killed, size = time.time(), len(file.heard)
            story.claim(
                "the daemon is dead", not daemon.alive, f"pid {daemon.pid}, {size / BYTE_RATE:.1f} s into the talk"
            )
            await asyncio.sleep(_DEAD_S)
            story.claim(
                "the call goes on without it, and Asterisk goes on writing to memory",
                not call.done() and len(file.heard) > size,
            )
            process = await asyncio.to_thread(scene.stack.start_edge)
            dead = time.time() - killed
            story.claim(
                "the daemon is back and ready",
                scene.stack.ready() and not call.done(),
                f"pid {process.pid}, {dead:.1f} s after the kill",
            )
            result = await call
        finally:
            call.cancel()
        await soon(lambda: not watch.alive, within=5, every=0.02)
        story.claim(
            "no second capture file came: the restarted daemon took up the one there was", len(watch.files) == 1
        )
    recording = await ended_well(scene, dave, result, file, dead_s=dead)
    audio = await exported(scene, recording, "dave.wav")
    same_voices(story, dave, audio)
    story.claim(
        "the exported bytes are those Asterisk wrote, also while the daemon was dead",
        audio == bytes(file.heard),
        f"{len(audio)} bytes",
    )
    scene.heard.append(audio)
    return recording
