"""Further headers for stored segments, made here, where the identity is, and carried to the daemon that stores them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from callwarden.door import Door, Reading
from callwarden.keylist import named
from callwarden.reading.bundle import Opened
from callwarden.reading.segments import file_key
from edge.errors import CallwardenError
from formats.age import Identity, parse_recipient
from formats.ids import format_time
from formats.keys import SigningKey, b64url
from formats.keyset import KeySet
from formats.place import Place
from formats.rewrap import RewrapClaims, sign_rewrap
from formats.suites import suite_of

Row = dict[str, Any]


@dataclass
class Task:
    """Segments of one recording that are to get the recipients `wanted`, those of `policy`."""

    recording_id: str
    policy: str
    wanted: tuple[str, ...]
    segments: list[Row]


@dataclass
class Told:
    """done: segments with a new header; failed: recording to why the rest of it keeps its old ones."""

    done: int = 0
    failed: dict[str, CallwardenError] = field(default_factory=dict)


def tasks(
    door: Door, recordings: Sequence[str] = (), policy: str | None = None, from_recipient: str | None = None
) -> list[Task]:
    """What is to be done: sealed segments whose recipients are not those of their policy as it is now, or of `policy`.

    `recordings`: only of these ids (all where it is empty); `from_recipient`: only what this one can open, by its public
    key or its fingerprint. What was done by an earlier run is not found again. Raises CallwardenError not_found.policy,
    not_found.recording (it is not there, or not sealed), not_found.recipient.
    """
    known = door.keys()
    policies = known["policies"]
    if from_recipient is not None:
        from_recipient = named(from_recipient, list(known["segments"]))
    if policy is not None and policy not in policies:
        hint = f"the daemon has: {', '.join(sorted(policies)) or 'none, or it is not running'}"
        raise CallwardenError("not_found.policy", "no such policy records now", hint=hint, where=policy)
    found, left_to_see = [], set(recordings)
    for recording_id, rows in groupby(_headers(door), key=lambda row: str(row["recording_id"])):
        segments = list(rows)
        left_to_see.discard(recording_id)
        name = policy or segments[0]["policy"]
        if (recordings and recording_id not in recordings) or name not in policies or policies[name]["epochs"]:
            continue
        wanted = tuple(policies[name]["recipients"])
        left = [
            one
            for one in segments
            if tuple(one["recipients"]) != wanted and from_recipient in (None, *one["recipients"])
        ]
        if left:
            found.append(Task(recording_id, name, wanted, left))
    for recording_id in sorted(left_to_see):
        hint = "whole ids of sealed recordings; callwarden recordings lists them"
        raise CallwardenError("not_found.recording", "no such sealed recording", hint=hint, where=recording_id[:80])
    return found


def _headers(door: Door) -> Iterator[Row]:
    after = 0
    while page := door.headers(after):
        yield from page
        after = page[-1]["seq"]


class Rewrap:
    """Does tasks one after the other; each segment is whole by itself, so it may be stopped between any two."""

    def __init__(
        self, door: Door, identities: Sequence[Identity], signer: SigningKey, trust: KeySet, *, carried: bool = False
    ) -> None:
        """`carried`: headers are not handed to the daemon but gathered in `headers`, recording to what an order brings."""
        self._door, self._identities, self._signer, self._trust = door, identities, signer, trust
        self._carried = carried
        self.headers: dict[str, list[Row]] = {}
        self.told = Told()

    def run(self, work: Sequence[Task]) -> Iterator[int]:
        """Yields how many segments are done, after each. Raises what stops everything (the daemon is gone, the signature
        does not count); what concerns one recording is told."""
        for task in work:
            try:
                opened = Opened(self._door, task.recording_id, self._trust, Reading(case="rewrap"))
                for row in task.segments:
                    self._one(opened, task, row)
                    self.told.done += 1
                    yield self.told.done
            except CallwardenError as error:
                family = error.code.partition(".")[0]
                if family in ("daemon", "environment", "auth") or error.code == "command.recipients":
                    raise
                self.told.failed[task.recording_id] = error

    def _one(self, opened: Opened, task: Task, row: Row) -> None:
        number = row["number"]
        segment = next(one for one in opened.bundle["segments"] if one["number"] == number)
        key = file_key(opened, segment, self._identities)
        suite, place = suite_of(segment["suite"]), Place(opened.recording_id, segment["segment_id"])
        recipients = [parse_recipient(one) for one in task.wanted]
        header = suite.make_header(key, recipients, place, randbytes=secrets.token_bytes)
        claims = RewrapClaims(
            edge_id=opened.bundle["edge_id"], recording_id=opened.recording_id, segment_id=segment["segment_id"],
            number=number, version=segment["header_version"] + 1, suite=suite.name, policy=task.policy,
            recipients=task.wanted, key_id=segment["key_id"], header_sha256=hashlib.sha256(header).hexdigest(),
            at=format_time(datetime.now(UTC)),
        )  # fmt: skip
        body = {"statement": sign_rewrap(claims, self._signer), "header": b64url(header)}
        if self._carried:
            self.headers.setdefault(opened.recording_id, []).append({"segment": number, **body})
        else:
            self._door.rewrap(opened.recording_id, number, body)
