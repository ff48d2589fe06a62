"""A call's dialogue in the words of the consent flow, over one AGI session. Implements `edge.ports.Dialogue`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from edge.agi import variables
from edge.agi.protocol import Reply
from edge.agi.request import AgiRequest
from edge.agi.wire import AgiWire, unsafe
from edge.failpoints import hit
from edge.ports import CallerGone, DialogueLost

SIMPLE_LIMIT_S = 5.0  # an answer that needs no time of its own
UNKNOWN_LENGTH_S = 60.0  # no prompt in the catalogue is longer
SAMPLES_PER_MS = 8  # prompts are 8 kHz: a position of STREAM FILE counts samples
MAX_DISCARDED = 200  # keys; somebody who presses more than that is a machine

#: Bytes per millisecond of the formats prompts come in.
_BYTES_PER_MS = {".ulaw": 8, ".alaw": 8, ".sln": 16, ".wav": 16, ".sln16": 32, ".g722": 8, ".gsm": 1.65}
_KEYS = re.compile(r"[0-9*#A-D]{0,16}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\([A-Za-z0-9_,]*\))?")
_PATH = re.compile(r"/[A-Za-z0-9_./-]+")
_OPTIONS = re.compile(r"[A-Za-z0-9_./()-]*")
_VALUE = re.compile(r"[A-Za-z0-9_.:=;-]+")
_EVENT_WORD = re.compile(r"[A-Za-z0-9_.:-]+")


class AgiDialogue:
    """One caller on one channel. Positions and time-outs in milliseconds."""

    def __init__(self, wire: AgiWire, request: AgiRequest, context: str, queue: str = "") -> None:
        self._wire = wire
        self.script = request.script
        self.feature = request.feature
        self.on_failure = request.on_failure
        self.channel_uid = request.channel_uid
        self.channel_name = request.channel_name
        self.linked_id = request.linked_id
        self.policy_name = request.policy_name
        self.caller_number = request.caller_number
        self.caller_name = request.caller_name
        self.dialled = request.dialled
        self.context = context
        self.queue = queue
        self.language = request.language

    async def answer(self) -> None:
        """Answer the channel (nothing happens when it is answered already)."""
        self._alive(await self._ask("ANSWER"))
        hit("agi.answered")

    async def play(self, path: str, keys: str, offset_ms: int = 0) -> tuple[str, int]:
        """Play an absolute path without extension; see `edge.ports.Dialogue.play`. A file Asterisk cannot open
        comes back at once with the position unchanged."""
        _check("path", path, _PATH)
        _check("keys", keys, _KEYS)
        hit("agi.play_asked")
        reply = await self._ask(
            "STREAM FILE", path, keys, str(offset_ms * SAMPLES_PER_MS), limit_s=_longest_s(path) + SIMPLE_LIMIT_S
        )
        if (
            reply.result == -1
        ):  # the caller is gone, or there is no such file: ask for something only a live channel has
            self._alive(await self._ask("CHANNEL STATUS"))
            return "", offset_ms
        hit("agi.played")
        return _key(reply), (reply.endpos or 0) // SAMPLES_PER_MS

    async def wait_key(self, timeout_ms: int) -> str:
        """One key, or "" after the time-out."""
        hit("agi.key_asked")
        reply = await self._ask("WAIT FOR DIGIT", str(timeout_ms), limit_s=timeout_ms / 1000 + SIMPLE_LIMIT_S)
        self._alive(reply)
        hit("agi.key_read")
        return _key(reply)

    async def discard_keys(self) -> None:
        """Drop digits that were pressed before now."""
        for _ in range(MAX_DISCARDED):
            reply = await self._ask("WAIT FOR DIGIT", "1")
            self._alive(reply)
            if reply.result == 0:
                return

    async def set_variable(self, name: str, value: str) -> None:
        """Set a channel variable or writable function such as CDR(userfield)."""
        _check("variable name", name, _NAME)
        await self._ask("SET VARIABLE", name, value)
        hit("agi.variable_set")

    async def set_variables(self, values: Mapping[str, str]) -> None:
        """EXEC MSet: several at the cost of one, in order. Values are words of [A-Za-z0-9_.:=;-]: a comma would begin
        another variable."""
        for name, value in values.items():
            _check("variable name", name, _NAME)
            _check("variable", value, _VALUE)
        await self._ask("EXEC", "MSet", ",".join(f"{name}={value}" for name, value in values.items()))
        for _ in values:
            hit("agi.variable_set")

    async def get_variable(self, name: str) -> str:
        """A variable's or function's value, "" when unset. For names whose value no caller can choose."""
        _check("variable name", name, _NAME)
        return (await self._ask("GET VARIABLE", name)).data or ""

    async def start_monitor(self, path: str, options: str) -> str:
        """EXEC MixMonitor on a file that exists and is ours; returns Asterisk's id of the monitor.

        Raises DialogueLost when Asterisk gave no id: then nothing can be stopped by id, so the session ends.
        """
        if path:  # without one the options name the files
            _check("path", path, _PATH)
        _check("options", options, _OPTIONS)
        await self._ask("SET VARIABLE", variables.MONITOR, "")  # an id of an earlier run must not pass for this one's
        hit("agi.monitor_asked")
        reply = await self._ask("EXEC", "MixMonitor", f"{path},{options}i({variables.MONITOR})")
        self._alive(reply)
        hit("agi.monitor_started")
        monitor = await self.get_variable(variables.MONITOR)
        if reply.result != 0 or not monitor:
            self._wire.end("MixMonitor did not start")
            raise DialogueLost(self._wire.lost)
        return monitor

    async def user_event(self, name: str, fields: Mapping[str, str]) -> None:
        """EXEC UserEvent. Names and values are words of [A-Za-z0-9_.:-]: a comma would begin another field."""
        for word in (name, *fields.keys(), *fields.values()):
            _check("user event", word, _EVENT_WORD)
        await self._ask("EXEC", "UserEvent", ",".join([name, *(f"{key}: {value}" for key, value in fields.items())]))

    async def _ask(self, *words: str, limit_s: float = SIMPLE_LIMIT_S) -> Reply:
        return await self._wire.command(*words, limit_s=limit_s)

    def _alive(self, reply: Reply) -> None:
        if reply.result == -1:  # Asterisk's word for a channel that was hung up meanwhile
            self._wire.gone = True
            raise CallerGone


def _check(what: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value) or ".." in value:
        raise unsafe(what, value)


def _key(reply: Reply) -> str:
    return chr(reply.result) if 0 < reply.result < 128 else ""


def _longest_s(path: str) -> float:
    """An upper bound of a prompt's length in seconds, from the sizes of its files."""
    stem = Path(path)
    lengths = [
        stem.with_name(stem.name + suffix).stat().st_size / rate / 1000
        for suffix, rate in _BYTES_PER_MS.items()
        if stem.with_name(stem.name + suffix).is_file()
    ]
    return max(lengths, default=UNKNOWN_LENGTH_S)
