"""What an order brings with it: a policy's text, a key set, further headers. Signed with everything else it says."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from formats import canonical
from formats.errors import FormatError, OrderError
from formats.keyset import KeySet
from formats.orders.authority import Command

#: An order with what it brings is no longer than this, so that it fits into a delivery and a request, bytes of canonical JSON.
MAX_CONTENT: Final = 256 * 1024
#: Headers in one order: sixteen hours of segments.
MAX_HEADERS: Final = 64


class PolicyContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`toml`: the table `[policy.NAME]` of the target and nothing else; "" puts the edge's own file back in force.
    `edges`: for whom; none: for every edge of the fleet."""

    toml: str
    edges: tuple[str, ...] = ()


class KeysContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`keyset`: the whole document that takes the place of what is pinned; no edge's own key is in it."""

    keyset: dict[str, Any]

    @property
    def keys(self) -> KeySet:
        """The key set. Raises FormatError."""
        return KeySet.load(canonical.dumps(self.keyset))


class NewHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A further header of segment `segment` (its number), base64url, and its maker's `statement` (docs/spec/rewrap.md)."""

    segment: int
    statement: str
    header: str


class RewrapContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`headers`: one for each segment that gets one."""

    headers: tuple[NewHeader, ...]


Content = TypeVar("Content", PolicyContent, KeysContent, RewrapContent)
#: Commands that bring something, and what their target is.
_BRINGS: Final[dict[Command, tuple[type[Any], str]]] = {
    "policy": (PolicyContent, "policy"),
    "keys": (KeysContent, "fleet"),
    "rewrap": (RewrapContent, "recording"),
}


def content_as(content: dict[str, Any], kind: type[Content]) -> Content:
    """What an order brings, as `kind`. Raises OrderError `command.malformed`."""
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise OrderError("command.malformed", f"what the order brings is malformed: {error}") from error


def check_content(cmd: Command, target_kind: str, content: dict[str, Any]) -> None:
    """Raises OrderError `command.malformed` where a command brings something else than it must, or something too long."""
    if cmd not in _BRINGS:
        if content:
            raise OrderError("command.malformed", f"{cmd} brings nothing with it")
        return
    kind, target = _BRINGS[cmd]
    if target_kind != target:
        raise OrderError("command.malformed", f"the target of {cmd} is a {target}")
    if len(canonical.dumps(content)) > MAX_CONTENT:
        raise OrderError("command.malformed", f"an order brings at most {MAX_CONTENT // 1024} KiB")
    try:
        _check(content_as(content, kind))
    except FormatError as error:
        raise OrderError("command.malformed", error.message) from error


def _check(content: Any) -> None:
    match content:
        case PolicyContent():
            if len(set(content.edges)) != len(content.edges) or not all(content.edges):
                raise OrderError("command.malformed", "an edge is named once")
        case KeysContent():
            if content.keys.with_role("edge"):
                raise OrderError("command.malformed", "an edge's own key is not replaced by an order")
        case RewrapContent():
            numbers = [one.segment for one in content.headers]
            if not 0 < len(numbers) <= MAX_HEADERS or len(set(numbers)) != len(numbers) or min(numbers) < 0:
                raise OrderError("command.malformed", f"1 to {MAX_HEADERS} headers, each of another segment")
        case _:
            raise AssertionError(content)


__all__ = ["KeysContent", "NewHeader", "PolicyContent", "RewrapContent", "check_content", "content_as"]
