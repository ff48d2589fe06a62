"""One run of `callwarden adopt`: arguments to a pass, the pass with its progress, and what became of each file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from callwarden.adoptdoor import AdoptDoor
from callwarden.output import note, plain, print_json
from edge.adopt.beneath import Beneath, Found
from edge.adopt.facts import Records
from edge.adopt.parser import Parser
from edge.adopt.rights import step_down
from edge.adopt.run import Pass, Result, Settings
from edge.config import load, socket_of
from edge.errors import CallwardenError, Exit
from edge.model.adoption import Grounds

#: Problems that are printed one by one; the rest are counted (all are in --json).
_SHOWN = 50


@dataclass
class Adopting:
    """The arguments (docs/cli.md), and what came of them."""

    folder: Path
    policy: str
    basis: str
    reference: str
    evidence: str
    timezone: str
    cdr: tuple[Path, ...]
    apply: bool
    keep: bool
    keep_names: bool
    settle: float
    largest: int
    counts: Counter[str] = field(default_factory=Counter)
    left: list[Result] = field(default_factory=list)
    stopped: str = ""

    def run(self, config: Path, *, json_: bool) -> int:
        """The whole command; returns its exit code. Raises CallwardenError."""
        grounds, zone = self._grounds(), self._zone()
        socket = _socket(config)
        records = Records(zone)
        with ExitStack() as stack:
            files = [stack.enter_context(_opened(path)) for path in self.cdr]
            step_down(str(self.folder), socket)
            beneath = stack.enter_context(Beneath(str(self.folder)))
            parser = stack.enter_context(Parser())
            for path, fd in zip(self.cdr, files, strict=True):
                note(f"reading {plain(path)}")
                records.add(parser.records(fd))
            settings = Settings(
                grounds, records, apply=self.apply, keep=self.keep, settle_s=self.settle, largest=self.largest
            )
            one = Pass(beneath, parser, AdoptDoor(socket), settings)
            found = one.files()
            error: BaseException | None = None
            try:
                self._all(one, found, quiet=json_)
            except KeyboardInterrupt:
                self.stopped = "interrupted"
            except CallwardenError as cause:
                self.stopped, error = cause.code, cause
            self._say(found, records, parser.cage, json_=json_)
        if error is not None:
            raise error
        if self.stopped:
            return 130
        return int(Exit.PENDING if self.left else Exit.DONE)

    def _all(self, one: Pass, found: Sequence[Found], *, quiet: bool) -> None:
        with _progress(len(found), quiet=quiet) as advance:
            for result in one.results(found):
                self.counts[result.state] += 1
                self.counts["seconds"] += result.ms // 1000 if result.state != "left" else 0
                self.counts["repaired"] += bool(result.repaired)
                self.counts["known_calls"] += result.known_call
                self.counts["zone_differs"] += not result.zone_fits
                self.counts[f"original_{result.original}"] += bool(result.original)
                if result.state == "left":
                    self.left.append(result)
                advance()

    # ------------------------------------------------------------ arguments

    def _grounds(self) -> Grounds:
        plainly = {
            "policy": self.policy, "basis": self.basis, "reference": self.reference.strip(),
            "evidence": self.evidence.strip(), "keep_names": self.keep_names,
        }  # fmt: skip
        try:
            return msgspec.convert(plainly, Grounds)
        except msgspec.ValidationError as error:
            raise CallwardenError(
                "usage.adopt", f"this does not say why they may be kept: {error}",
                hint="--reference and --evidence name documents, in 1 to 400 characters",
            ) from error  # fmt: skip

    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise CallwardenError(
                "usage.timezone", "there is no such time zone", hint="for example Europe/Prague or UTC",
                where=self.timezone,
            ) from error  # fmt: skip

    # ------------------------------------------------------------ what is said

    def _say(self, found: Sequence[Found], records: Records, cage: str, *, json_: bool) -> None:
        counts = self.counts
        seen = sum(counts[state] for state in ("adopted", "would_adopt", "already", "waiting", "left"))
        if json_:
            names = (
                "adopted",
                "would_adopt",
                "already",
                "waiting",
                "seconds",
                "repaired",
                "known_calls",
                "zone_differs",
            )
            left: list[Any] = [
                {"path": r.path, "code": r.code, "message": r.message, "hint": r.hint} for r in self.left
            ]
            print_json(
                {
                    "folder": str(self.folder), "applied": self.apply, "files": len(found), "looked_at": seen,
                    **{name: counts[name] for name in names}, "removed": counts["original_removed"],
                    "kept": counts["original_kept"], "left": left, "call_records": records.count,
                    "stopped": self.stopped, "cage": cage,
                }
            )  # fmt: skip
            return
        hours = counts["seconds"] / 3600
        if self.apply:
            print(
                f"{counts['adopted']} of {len(found)} files taken over, {counts['already']} were before; {hours:.1f} h of"
                f" sound; {counts['original_removed']} files removed, {counts['original_kept']} kept"
            )
        else:
            print(
                f"{counts['would_adopt']} of {len(found)} files would be taken over ({hours:.1f} h of sound),"
                f" {counts['already']} are already; nothing was changed: add --apply to do it"
            )
        for name, text in (
            ("repaired", "with a damaged header, their sound whole"), ("known_calls", "with a call record"),
            ("waiting", "still written to, or a moment ago: run again later"),
        ):  # fmt: skip
            if counts[name]:
                print(f"{counts[name]} {text}")
        if counts["zone_differs"]:
            note(
                f"note: in {counts['zone_differs']} the time differs from the seconds in the call's id: is {self.timezone} right?"
            )
        if self.apply and counts["original_kept"] and self.keep:
            note("note: the kept files lie in the clear; an erasure does not reach them")
        for result in self.left[:_SHOWN]:
            note(f"left: {plain(result.path)}: {plain(result.message)} [{plain(result.code)}]")
            if result.hint:
                note(f"  hint: {plain(result.hint)}")
        if len(self.left) > _SHOWN:
            note(f"and {len(self.left) - _SHOWN} more; --json lists them all")
        if self.stopped:
            note("stopped before the end; run the same again, and it goes on")


def _socket(config: Path) -> Path:
    try:
        return load(config).edge.socket
    except CallwardenError:
        if (path := socket_of(config)) is None:
            raise
        return path


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise CallwardenError("environment.file", error.strerror or str(error), where=str(path)) from error
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Any]:
    """A bar on a terminal (stderr), with an estimate; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda: None
        return
    with Progress(
        TextColumn("files"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    ) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
