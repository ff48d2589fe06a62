"""What does not fit in the sections beside the policies. Pure: values in, findings out; `load` knows file and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from edge.config.files import Key
from edge.config.schema import (
    WAIVABLE,
    AgentSection,
    AsteriskSection,
    CentralSection,
    EdgeSection,
    ErasureSection,
    NoticesSection,
    TelephonySection,
    is_loopback,
)
from edge.consent.jurisdiction import COUNTRY
from edge.consent.numbers import digits
from edge.consent.policy import Policy
from edge.consent.retention import OF_HOUSE, OF_POLICY, House
from edge.model.lifecycle import OUTCOMES

_EDGE_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
#: A channel's name before its last "-": technology, then endpoint. "PJSIP/trunk".
_DEVICE = re.compile(r"[A-Za-z][A-Za-z0-9]*/[A-Za-z0-9@_.+-]{1,64}")
_DIGITS = re.compile(r"[0-9*#]{1,8}")


class Wrong(NamedTuple):
    """One thing that is wrong, and where."""

    key: Key
    code: str
    message: str
    hint: str


def of_edge(edge: EdgeSection, asterisk: AsteriskSection) -> Iterator[Wrong]:
    """`[edge]` and `[asterisk]`."""
    if not _EDGE_ID.fullmatch(edge.id):
        hint = '1 to 63 of a-z, 0-9 and "-"'
        yield Wrong(("edge", "id"), "config.value", f"{edge.id!r} cannot name an edge", hint)
    for number, name in enumerate(edge.waive):
        if name not in WAIVABLE:
            near = difflib.get_close_matches(name, WAIVABLE, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"checks that can be waived: {', '.join(WAIVABLE)}"
            yield Wrong(("edge", "waive", number), "config.value", f'there is no check "{name}" to waive', hint)
    for name, value, low, high in (
        ("guard_deadline", asterisk.guard_deadline, 0.5, 10),
        ("dead_man", asterisk.dead_man, 10, 600),
    ):
        if not low <= value <= high:
            message = f"{name} of {value:g} s is out of range"
            yield Wrong(("asterisk", name), "config.value", message, f"{low:g} s to {high:g} s")


def of_central(central: CentralSection) -> Iterator[Wrong]:
    """`[central]`, what is in it beside the address."""
    if not 0 <= central.media_rate <= 1_000_000:
        message = f"media_rate {central.media_rate} is out of range"
        yield Wrong(("central", "media_rate"), "config.value", message, "KiB a second, 0 to 1000000")


def of_erasure(erasure: ErasureSection, edge: EdgeSection) -> Iterator[Wrong]:
    """`[erasure]`."""
    least = 1 if "erasure-window" in edge.waive else 86400
    if not least <= erasure.window <= 168 * 3600:
        hint = '"24h" to "168h"; less only with waive = ["erasure-window"] in [edge]'
        yield Wrong(("erasure", "window"), "config.value", f"window of {erasure.window:g} s is out of range", hint)
    if not 0 <= erasure.daily_share <= 100:
        message = f"daily_share {erasure.daily_share} is out of range"
        yield Wrong(("erasure", "daily_share"), "config.value", message, "percent, 0 to 100")
    if erasure.daily_free < 0:
        message = f"daily_free {erasure.daily_free} is out of range"
        yield Wrong(("erasure", "daily_free"), "config.value", message, "0 or more recordings")


def of_url(key: Key, url: str, *, password_hint: str) -> Iterator[Wrong]:
    """An address of a service elsewhere; nothing of a bad one is repeated, it may hold a password."""
    name = ".".join(str(part) for part in key)
    try:
        parts = urlsplit(url)
        host, secret, _ = parts.hostname or "", parts.username or parts.password, parts.port
    except ValueError:
        parts, host, secret = urlsplit(""), "", None
    if parts.scheme not in ("https", "http") or not host:
        yield Wrong(key, "config.value", f"{name} is not an address", f'{key[-1]} = "https://{key[0]}.example"')
    elif secret:
        yield Wrong(key, "config.secret_in_toml", "the address holds a password", password_hint)
    elif parts.scheme == "http" and not is_loopback(host):
        yield Wrong(
            key, "config.value", "plain http leaves this machine", "use https, with ca_file for a CA of your own"
        )


def of_telephony(telephony: TelephonySection) -> Iterator[Wrong]:
    """`[telephony]`."""
    if not COUNTRY.fullmatch(telephony.country):
        message, hint = f"{telephony.country!r} is not a country", 'two capital letters, for example "CZ"'
        yield Wrong(("telephony", "country"), "config.value", message, hint)
    for number, prefix in enumerate(telephony.prefixes):
        if not _DIGITS.fullmatch(prefix):
            message = f"{prefix!r} is not dialled before a number"
            yield Wrong(("telephony", "prefixes", number), "config.value", message, "one to eight of 0-9, * and #")
    for number, trunk in enumerate(telephony.trunks):
        if not _DEVICE.fullmatch(trunk):
            message, hint = f"{trunk!r} is no endpoint", 'as channel names begin: "PJSIP/trunk"'
            yield Wrong(("telephony", "trunks", number), "config.value", message, hint)
    for name in ("emergency", "never_numbers", "shared_numbers"):
        for number, text in enumerate(getattr(telephony, name)):
            if not digits(text):
                message, hint = f"{text!r} is not a number", 'for example "+420 555 100 200" or "1001"'
                yield Wrong(("telephony", name, number), "config.value", message, hint)


def of_agents(agents: Mapping[str, AgentSection]) -> Iterator[Wrong]:
    """`[agents.NAME]`."""
    seen: dict[str, str] = {}
    for name, agent in agents.items():
        key = ("agents", name)
        if not _DEVICE.fullmatch(agent.device):
            message, hint = f"{agent.device!r} is no endpoint", 'as channel names begin: "PJSIP/agent1"'
            yield Wrong((*key, "device"), "config.value", message, hint)
        if not agent.reference.strip():
            hint = "name the contract, works agreement or form, with its date"
            yield Wrong((*key, "reference"), "config.value", f"agent {name} has no reference", hint)
        other = seen.setdefault(agent.device.lower(), name)
        if other != name:
            message = f'"{agent.device}" is the device of agent {other} too'
            yield Wrong((*key, "device"), "config.value", message, "a device belongs to one agent")


def of_retention(house: House, policies: Mapping[str, Policy]) -> Iterator[Wrong]:
    """`[retention]`: a floor above its ceiling cannot be kept, nor can no time at all."""
    for name in OF_POLICY:
        floor, ceiling = getattr(house.floor, name), getattr(house.ceiling, name)
        if floor is not None and ceiling is not None and floor.most_days > ceiling.most_days:
            message = f"the floor of {name} is above its ceiling"
            yield Wrong(("retention", "floor", name), "config.value", message, "the floor is a duty and would win")
        if ceiling is not None and ceiling.is_zero:
            message = f"a ceiling of no time at all for {name}"
            yield Wrong(("retention", "ceiling", name), "config.value", message, 'at least "P1D"')
    for name in OF_HOUSE:
        if getattr(house, name).is_zero:
            yield Wrong(("retention", name), "config.value", f"{name} kept for no time at all", 'at least "P1D"')
    for policy in policies.values():
        for word in policy.retention.purposes:
            if word not in policy.every_purpose and policy.mode != "never" and word not in house.defaults.purposes:
                message = f'policy "{policy.name}" does not ask for the purpose "{word}"'
                hint = f"its purposes: {', '.join(policy.every_purpose) or 'none'}"
                yield Wrong(("policy", policy.name, "retention", "purposes", word), "policy.purpose", message, hint)
        for word in policy.retention.outcomes:
            if word not in OUTCOMES:
                message, hint = f'no call ends as "{word}"', f"one of: {', '.join(OUTCOMES)}"
                yield Wrong(("policy", policy.name, "retention", "outcomes", word), "policy.outcome", message, hint)


def of_notices(notices: NoticesSection, policies: Mapping[str, Policy]) -> Iterator[Wrong]:
    """`[notices]`, and the policies that need it."""
    key = ("notices",)
    if notices.url:
        yield from of_url((*key, "url"), notices.url, password_hint="the key of the signature proves who we are")  # noqa: S106
        if notices.secret_file is None:
            hint = 'secret_file = "notices.secret", a file of mode 0600'
            yield Wrong(key, "config.missing_key", "notices.secret_file is missing", hint)
    if notices.link:
        yield from of_url((*key, "link"), notices.link, password_hint="the link is public")  # noqa: S106
    for number, country in enumerate(notices.countries):
        if not COUNTRY.fullmatch(country):
            message = f"{country!r} is not a country"
            yield Wrong((*key, "countries", number), "config.value", message, 'two capital letters, for example "CZ"')
    if not 1 <= notices.per_hour <= 10_000:
        message = f"per_hour {notices.per_hour} is out of range"
        yield Wrong((*key, "per_hour"), "config.value", message, "1 to 10000")
    for policy in policies.values():
        if policy.text_notice and not notices.url:
            message = f'policy "{policy.name}" sends text notices, but there is no gateway'
            hint = 'add [notices] with url and secret_file, or text_notice = ""'
            yield Wrong(("policy", policy.name, "text_notice"), "policy.no_gateway", message, hint)
