"""What an edge reports of a policy in effect, and how reports of many edges become entries of a register. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from formats import canonical
from formats.errors import FormatError


class PromptText(msgspec.Struct, frozen=True):
    """One sentence that a call can hear; sha256: hex, of the audio file."""

    id: str
    language: str
    version: str
    sha256: str
    text: str


class House(msgspec.Struct, frozen=True):
    """What holds over all policies of an edge, as far as it bears on this one. floor, ceiling: class of data to ISO 8601
    period; keys: public key to whose it is; recovery: those that are recovery keys; local: whether the host holds an identity
    that opens recordings; waived: start-up checks that are not made; gateway: host that text notices go to, "" for none;
    central: whether the edge reports to one (older edges, which do not say so, were heard by one)."""

    floor: dict[str, str] = {}
    ceiling: dict[str, str] = {}
    keys: dict[str, str] = {}
    recovery: tuple[str, ...] = ()
    local: bool = False
    waived: tuple[str, ...] = ()
    country: str = ""
    exports: str = ""
    orders: str = ""
    gateway: str = ""
    central: bool = True


class PolicyReport(msgspec.Struct, frozen=True):
    """Data of an event `policy.loaded`. version: SHA-256, hex, of the canonical `document`; None: the policy is no more.
    at: when the edge put it into effect, RFC 3339."""

    policy: str
    version: str | None
    at: str = ""
    document: dict[str, Any] = {}
    prompts: tuple[PromptText, ...] = ()
    house: House = House()


def parse_report(data: Mapping[str, Any]) -> PolicyReport:
    """Raises FormatError event.policy for what is no report, or whose version is not that of its document."""
    try:
        report = msgspec.convert(dict(data), PolicyReport)
    except (msgspec.ValidationError, RecursionError) as error:
        raise FormatError("event.policy", f"not a report of a policy: {error}") from error
    if not 0 < len(report.policy) <= 200 or not report.policy.isprintable():
        raise FormatError("event.policy", "a policy has a name of 1 to 200 characters that print")
    if report.version is not None:
        digest = hashlib.sha256(canonical.dumps(report.document)).hexdigest()
        if digest != report.version:
            raise FormatError("event.policy", "the version is not the SHA-256 of the document")
    return report


@dataclass(frozen=True, slots=True)
class InForce:
    """A policy that an edge runs. since: when this version took effect there, RFC 3339, "" where that is not known. state: "", or
    from `state_at` on "revoked" (the edge: nothing is known of it since) or "kept" (applied no longer, recordings are left)."""

    edge_id: str
    since: str
    report: PolicyReport
    state: str = ""
    state_at: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """The same policy, word for word, wherever it runs. edges: (edge, since), sorted; states: edge to (state, state_at) as of
    `InForce`, where there is one."""

    report: PolicyReport
    edges: tuple[tuple[str, str], ...]
    states: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name and first digits of the version: what tells two versions of one policy apart."""
        return f"{self.report.policy}@{(self.report.version or '')[:12]}"


def entries(running: Iterable[InForce], policy: str = "") -> list[Entry]:
    """One entry per policy, version and circumstances, sorted; `policy`: only of this name."""
    groups: dict[tuple[str, str, bytes], list[InForce]] = {}
    for one in running:
        report = one.report
        if report.version is None or (policy and report.policy != policy):
            continue
        same = canonical.dumps(msgspec.to_builtins(msgspec.structs.replace(report, at="")))
        groups.setdefault((report.policy, report.version, same), []).append(one)
    return [
        Entry(
            found[0].report,
            tuple(sorted((one.edge_id, one.since) for one in found)),
            {one.edge_id: (one.state, one.state_at) for one in found if one.state},
        )
        for _, found in sorted(groups.items())
    ]
