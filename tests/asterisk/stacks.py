"""A whole stack of a test's own, and nothing of it afterwards: processes, state, and its folder on the tmpfs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from rig.places import state_folder
from rig.stack import Stack, open_stack


@contextmanager
def own_stack(name: str) -> Iterator[Stack]:
    """A stack named after this process, not started yet; stopped and removed at the end, also after a failure."""
    home = state_folder() / f"{name}-{os.getpid()}-home"
    stack = open_stack(f"{name}-{os.getpid()}", home=home)
    try:
        yield stack
    finally:
        stack.down()
        for folder in (stack.state, home, stack.memory.parent):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole_stack(name: str, *, old: bool = False, extra: str = "") -> Iterator[Stack]:
    """As `own_stack`, running. old: with Asterisk 16; extra: further extensions of from-callers."""
    with own_stack(name) as stack:
        stack.old = old
        stack.extra_dialplan = extra
        stack.up()
        yield stack


def own_policies(stack: Stack, texts: dict[str, str]) -> None:
    """Add policies and sections to a running stack, `{file name: TOML}`, and start its daemon anew.

    A text that ends inside a `[policy.…]` without recipients gets those of `init`'s own policy.
    """
    folder = stack.etc / "conf.d"
    support = (folder / "support.toml").read_text()
    recipients = support[support.index("recipients") : support.index("]", support.index("recipients")) + 1]
    for name, text in texts.items():
        path = folder / f"{name}.toml"
        path.write_text(f"{text}{recipients}\n" if "[policy." in text else text)
        path.chmod(0o644)
    edge = stack.process("edge")
    assert edge is not None
    edge.stop()
    stack.start_edge()
