"""What stages ask of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from edge.consent.permit import Permit
from edge.consent.policy import Policy
from edge.consent.prompt import Prompt
from edge.model.entities import MonitorOrder, NewRecording
from edge.model.live import Actor


class Clock(Protocol):
    """Both clocks. `wall` is aware UTC; `mono_ns` never jumps; `wall_text` is RFC 3339 with milliseconds and Z."""

    def wall(self) -> datetime: ...
    def wall_text(self) -> str: ...
    def mono_ns(self) -> int: ...


class RecorderPort(Protocol):
    """What calls and retention ask of the recorder. `prepared` values are the recorder's own and opaque to others."""

    async def prepare(self, policy: Policy) -> Any:
        """While the prompt plays: file key, header, shred key in its slot. Raises vault.* recipient.* if it cannot."""
        ...

    async def discard(self, prepared: Any) -> None:
        """The answer was no: the slot is released."""
        ...

    def rows(self, prepared: Any, permit: Permit, policy: Policy, channel_uid: str, channel_name: str) -> NewRecording:
        """What `CallBook.grant` has to commit before anything is told to Asterisk."""
        ...

    def begin(self, permit: Permit, prepared: Any, new: NewRecording, policy: Policy) -> MonitorOrder:
        """After `grant`: resume key and spool file. The one way a recording starts. Raises spool.unwritable."""
        ...

    async def confirm(self, recording_id: str, monitor_id: str) -> None:
        """Asterisk named the monitor."""
        ...

    async def fail(self, recording_id: str) -> None:
        """The monitor did not start: the recording ends as `no_audio`."""
        ...

    async def stop(self, recording_id: str, reason: str) -> None:
        """End a live capture (AMI) and wait until nobody writes it and its last segment is closed; to be erased (`erase`),
        until it is sealed. Returns at once when it is not live."""
        ...

    async def pause(self, recording_id: str) -> None:
        """Mute at Asterisk, acknowledged and seen as exact zeros in the file; the segment ends at the first of them and
        they are dropped. Returns when the journal says so. A pause that is there already does nothing. Raises ami.*, or
        recorder.mute_failed: then the caller of this must stop the recording."""
        ...

    async def resume(self, recording_id: str) -> None:
        """Unmute; the next segment begins at the first live frame. Raises as `pause`."""
        ...

    async def shred_segment(self, recording_id: str, *, since: str) -> int:
        """Incident: the segments that were open at or after the wall time `since` end now and their keys are destroyed;
        returns how many. The recording goes on in a new one. Raises command.held where a hold covers the recording and
        the answer was not taken back before `since`."""
        ...

    def live_of(self, call_id: str) -> Sequence[str]:
        """Recordings of this call that are not finished, oldest first."""
        ...

    def capturing(self, call_id: str) -> Sequence[str]:
        """Those of `live_of` that may still get audio: not those whose last segment is closed and being encoded, say."""
        ...


class LiveCalls(Protocol):
    """What people and feature codes ask of a call that is going on. Each answer is JSON-able: `call`, `did` (one word),
    `says` (a sentence), and `recording` where there is one. Raises calls.not_found, calls.not_live, calls.refused."""

    async def withdraw(self, call_id: str, actor: Actor, reason: str) -> Mapping[str, Any]:
        """By party and legal basis (`edge.consent.withdrawal`): `withdrawn`, `objected`, `objection_noted`, or `stopped`
        for an agent's own wish. Works also for a call that ended less than an hour ago."""
        ...

    async def pause(self, call_id: str, actor: Actor) -> Mapping[str, Any]: ...
    async def resume(self, call_id: str, actor: Actor) -> Mapping[str, Any]: ...
    async def start(self, call_id: str, actor: Actor) -> Mapping[str, Any]:
        """Mode `manual`: the caller is asked now, in the bridge."""
        ...

    async def incident(self, call_id: str, actor: Actor, seconds: float) -> Mapping[str, Any]:
        """Something was recorded in the last `seconds` that must not be kept: those segments are shredded."""
        ...


class PromptPort(Protocol):
    """The prompts that callers hear."""

    def resolve(self, prompt_id: str, language: str) -> Prompt:
        """Raises CallwardenError prompt.missing."""
        ...

    def verify(self, prompt: Prompt) -> None:
        """The file still has the hash that the evidence will name. Raises CallwardenError prompt.changed."""
        ...


class KeeperPort(Protocol):
    """Central's keeper of shred keys."""

    async def shred(self, recording_id: str, key_ids: Sequence[str], jti: str | None) -> Mapping[str, Any]:
        """Central overwrites its slots and answers with its statement (JSON, signed). Raises sync.* when unreachable."""
        ...

    async def shred_keys(self, recording_id: str, key_ids: Sequence[str]) -> Mapping[str, Any]:
        """As `shred`, of these keys only: the recording stays."""
        ...
