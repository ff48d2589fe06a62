"""`make demo`: the whole walk with real calls through a real Asterisk, told in plain words.

Every line with a tick is a claim that was checked before it was printed; the exit code is 0 only when all of them held.
It runs on the stack of `make up` when that is not running, and otherwise on one of its own beside it. `--stay` leaves
the stack up; otherwise it is stopped at the end, also after Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from edge.errors import CallwardenError
from rig import debs
from rig.places import PROJECT, memory_folder
from rig.programs import programs
from rig.stack import Stack, left_by_demo, open_stack, usual_stack
from rig.story import ClaimFailed, Story
from rig.story_calls import three_callers
from rig.story_crash import killed_in_mid_call
from rig.story_erase import erased_by_central
from rig.story_scene import Scene


def main(arguments: list[str]) -> int:
    """Exit code: 0 all claims held, 1 one did not, 2 usage, 130 interrupted, else that of the error."""
    if arguments not in ([], ["--stay"]):
        print("usage: python -m rig.demo [--stay]", file=sys.stderr)
        return 2
    stay, story = bool(arguments), Story()
    with _terminated_as_interrupted():
        stack: Stack | None = None
        try:
            debs.unpacked()
            stack = stack_of_the_demo()
            asyncio.run(_told(stack, story, stay=stay))
        except ClaimFailed as failed:
            story.failed(f"this claim did not hold: {failed}")
            code = 1
        except CallwardenError as error:
            story.failed(str(error))
            code = int(error.exit_code) or 1
        except KeyboardInterrupt:
            story.failed("interrupted")
            code = 130
        else:
            code = 0
        if stack is not None:
            _end(stack, story, stay=stay, code=code)
    return code


def stack_of_the_demo() -> Stack:
    """The stack of `make up`, unless somebody uses it: a demo kills its daemon and erases a recording."""
    usual = usual_stack()
    if not any(usual.process(name) for name in ("edge", "central", "asterisk")):
        return usual
    return open_stack("demo", home=PROJECT / ".rig" / "demo-home")


async def _told(stack: Stack, story: Story, *, stay: bool) -> None:
    story.plain(
        "Callwarden's demo: real SIP calls, a real Asterisk, a real vault. A tick stands only before what was checked."
    )
    story.act("Setting up")
    since = time.time()
    await asyncio.to_thread(stack.up)
    story.claim(
        f"Asterisk {programs().version}, the guard, the edge daemon and central run on free loopback ports",
        stack.ready() and all(stack.process(n) for n in ("asterisk", "guard", "edge", "central", "agent")),
        f"after {time.time() - since:.1f} s",
    )
    with _scratch() as scratch:
        scene = Scene(stack, story, scratch, since)
        _, first = await three_callers(scene)
        second = await killed_in_mid_call(scene)
        await erased_by_central(scene, first, second)
    story.plain(f"\nAll {story.claims} claims held.")


def _end(stack: Stack, story: Story, *, stay: bool, code: int) -> None:
    """Stop the stack, or say how to go on with it."""
    if stay and code != 130:
        with contextlib.suppress(CallwardenError):  # a failed demo has said why
            stack.up()  # the daemon has a new pid: write the file again
        env = stack.home / "env"
        story.plain(
            f"\nThe stack is up. Next:\n  . {env}\n  $CALLWARDEN status; $CALLWARDEN calls; $CALLWARDEN recordings"
        )
        story.plain("  $CALLWARDEN why CALL; $CALLWARDEN audit verify; $CALLWARDEN central receipts")
        story.plain(
            f"  central listens at {stack.central_url}; call sip:1001@127.0.0.1:{stack.ports.sip} from any SIP phone"
        )
        story.plain("  make down stops it")
        if stack.state == left_by_demo().parent:
            left_by_demo().touch()
        return
    stack.down()
    story.plain("\nThe stack is stopped. Next: make demo STAY=1 leaves it up; README.md; docs/architecture.md")


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A private folder in memory: exports are plaintext."""
    folder = memory_folder("demo-scratch") / secrets.token_hex(8)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: with its stack stopped."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
