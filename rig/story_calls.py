"""The demo's first act: three callers at once, and what may be kept of them; and what acts share."""

from __future__ import annotations

import asyncio
import re
import secrets
import time

from rig.asterisk import Asterisk
from rig.callers import CallResult
from rig.scenarios import Press, Wait
from rig.story import soon
from rig.story_audio import exported, same_voices, stock_age
from rig.story_scene import BUFFER_S, BYTE_RATE, HEARD_ENOUGH_S, MOST_RESIDENT, Caller, Scene, bridge_seconds
from rig.story_search import search, speech_needles
from rig.story_watch import SpoolFile, SpoolWatch


async def three_callers(scene: Scene) -> tuple[Caller, str]:
    """The act. Returns who agreed, and the recording's id. Raises ClaimFailed."""
    story = scene.story
    alice, bob, carol = (scene.caller(name) for name in ("Alice", "Bob", "Carol"))
    story.act("Three callers dial extension 1001 at once; its policy says: ask first")
    story.tell("Alice will press 1, Bob another key and then nothing, Carol hangs up while she is being asked")
    async with SpoolWatch(scene.stack) as watch:
        calls = [
            asyncio.create_task(scene.call(alice, [Wait(round(HEARD_ENOUGH_S * 1000)), Press("1"), Wait(23_000)])),
            asyncio.create_task(scene.call(bob, [Wait(round(HEARD_ENOUGH_S * 1000)), Press("9"), Wait(22_500)])),
            asyncio.create_task(scene.call(carol, [Wait(3000)])),
        ]
        try:
            carols = await calls[2]
            await _carol(scene, carol, carols)
            await _while_they_talk(scene, watch, alice, bob)
            bobs, alices = await calls[1], await calls[0]
        finally:
            for call in calls:
                call.cancel()
        await soon(lambda: not watch.alive, within=5, every=0.02)
        story.claim(
            "only one capture file ever existed, Alice's: nothing of Bob or Carol was written anywhere",
            len(watch.files) == 1,
        )
        [file] = watch.files.values()
    row = await scene.row_of(bob, bobs)
    said = (row["cdr"], row["outcome"], row["recordings"])
    story.claim("Bob refused and reached the agent unrecorded", said == ("refused", "refused", []), said[1])
    recording = await ended_well(scene, alice, alices, file)
    await _audio(scene, alice, recording, file)
    await _nothing_on_disk(scene)
    return alice, recording


async def _carol(scene: Scene, carol: Caller, result: CallResult) -> None:
    row = await scene.row_of(carol, result)
    # Her channel was gone when the outcome was known, so Asterisk's record keeps the word it had before: unavailable.
    said = (row["outcome"], row["recordings"], row["cdr"] in ("unavailable", "abandoned"))
    scene.story.claim("Carol hung up in the prompt: abandoned, no recording", said == ("abandoned", [], True))
    dialled = scene.stack.agent().dialled(carol.number)
    scene.story.claim("and the agent's phone never rang for her", dialled is None)


async def _while_they_talk(scene: Scene, watch: SpoolWatch, alice: Caller, bob: Caller) -> None:
    """Claims about the live call: tags, memory, growth of the vault, disk."""
    story, pbx = scene.story, scene.pbx
    state = await soon(lambda: _channel_says(pbx, alice.number), within=12)
    story.claim("Alice agreed: her channel carries the outcome for the dialplan", state == "given", state)
    await soon(lambda: watch.alive and len(watch.alive[0].heard) > 2 * BYTE_RATE, within=12, every=0.05)
    story.claim("her audio flows into one file in memory (a tmpfs)", len(watch.alive) == 1)
    [file] = watch.alive
    before = file.samples[0].vault
    await soon(lambda: file.samples[-1].vault > before, within=12, every=0.05)
    first = file.samples[-1].vault
    story.claim("sealed bytes reach the vault while she talks", first > before, f"{first - before} bytes")
    spoken = bytes(file.heard)
    needles = speech_needles(spoken)
    found = await asyncio.to_thread(search, scene.stack, needles, scene.since)
    story.claim(
        "not a byte of what is in memory now is in any file on a disk",
        needles and not found.hits,
        ", ".join(found.hits)
        or f"{len(needles)} samples of {len(spoken) / BYTE_RATE:.0f} s searched in {found.files} files",
    )
    state = await soon(lambda: _channel_says(pbx, bob.number), within=20)
    story.claim("Bob did not agree: his channel says so, and he is put through", state == "refused", state)
    await soon(lambda: file.samples[-1].vault > first, within=12, every=0.05)
    story.claim(
        "and the vault goes on growing", file.samples[-1].vault > first, f"{file.samples[-1].vault - before} bytes"
    )
    talking = await soon(lambda: _talks(scene, bob), within=8)
    story.claim("and the agent has answered Bob", talking)


def _talks(scene: Scene, who: Caller) -> bool:
    call = scene.stack.agent().dialled(who.number)
    return call is not None and call.answered is not None and call.ended is None


async def ended_well(scene: Scene, who: Caller, result: CallResult, file: SpoolFile, *, dead_s: float = 0) -> str:
    """Claims about the end of a recorded call; the recording's id. dead_s: how long no daemon was there to seal."""
    story = scene.story
    assert result.ended is not None
    late = (file.gone_at or time.time()) - result.ended
    story.claim(
        f"{who.name} hung up: sealed to the last byte and the capture file gone",
        file.gone_at and late < 1.0,
        f"after {max(late, 0):.2f} s",
    )
    besides = f" besides what came in the {dead_s:.1f} s without a daemon" if dead_s else ""
    story.claim(
        f"its memory never held more than 256 KiB of speech{besides}",
        0 < file.most_resident < MOST_RESIDENT + dead_s * BYTE_RATE,
        f"at most {file.most_resident // 1024} KiB, oldest byte {file.oldest:.1f} s,"
        f" of {len(file.heard) / BYTE_RATE:.0f} s",
    )
    row = await scene.row_of(who, result)
    said = (row["cdr"], row["outcome"])
    story.claim(f"{who.name} agreed, says Asterisk's record and the journal", said == ("given", "given"), said[1])
    story.claim("the call has one recording", len(row["recordings"]) == 1, " ".join(row["recordings"]))
    recording = str(row["recordings"][0])
    facts = await scene.recording(recording)
    story.claim(
        "the recording is sealed and complete",
        (facts["state"], facts["ending"]) == ("sealed", "complete"),
        f"{facts['seconds']:.2f} s in {len(facts['segments'])} segment(s)",
    )
    bridged = bridge_seconds(scene.pbx, who.number)
    story.claim(
        "it is as long as the two were connected, give or take one buffer of Asterisk's",
        abs(bridged - facts["seconds"]) <= BUFFER_S + 0.1,
        f"{bridged:.2f} s connected",
    )
    return recording


async def _audio(scene: Scene, who: Caller, recording: str, file: SpoolFile) -> None:
    audio = await exported(scene, recording, "alice.wav")
    same_voices(scene.story, who, audio)
    held = bytes(file.heard)
    scene.story.claim("the exported bytes are those Asterisk wrote, every one", audio == held, f"{len(audio)} bytes")
    scene.heard.append(audio)
    await stock_age(scene, recording, audio)


async def _nothing_on_disk(scene: Scene) -> None:
    """The final search, proven by a planted piece that it finds."""
    story, needles = scene.story, [n for audio in scene.heard for n in speech_needles(audio)]
    found = await asyncio.to_thread(search, scene.stack, needles, scene.since)
    story.claim(
        "no plaintext on any disk: not in the vault, the journal, the logs, nor in files the programs still hold open",
        needles and not found.hits,
        ", ".join(found.hits) or f"{len(needles)} needles, {found.files} files, {found.bytes / 1e6:.0f} MB",
    )
    planted = scene.stack.vault.parent / "planted-by-the-demo"
    try:
        planted.write_bytes(secrets.token_bytes(12_345) + scene.heard[-1][100_000:116_000] + secrets.token_bytes(777))
        found = await asyncio.to_thread(search, scene.stack, needles, scene.since)
    finally:
        planted.unlink(missing_ok=True)
    story.claim(
        "the same search finds half a second of her speech planted among noise",
        found.hits == (str(planted.resolve()),),
        ", ".join(found.hits) or "found nothing",
    )


def _channel_says(pbx: Asterisk, number: str) -> str:
    """The outcome in the variables of the channel this number calls on; empty while it is not known."""
    for line in pbx.cli("core show channels concise").splitlines():
        fields = line.split("!")
        if number in fields[1:]:
            said = re.search(r"^CALLWARDEN_OUTCOME=(\w+)", pbx.cli(f"core show channel {fields[0]}"), re.MULTILINE)
            return said[1] if said and said[1] != "unavailable" else ""
    return ""
