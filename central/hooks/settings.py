"""`[central.webhooks.NAME]` and `[central.mail]` into frozen values. Pure; the files named are read when they are used."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.headerregistry import Address
from pathlib import Path
from typing import Any, Final

from central.errors import CentralError
from central.hooks.addresses import Network, check_url

#: The mail queue's name; no webhook may have it.
MAIL: Final = "mail"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
#: A type, or the beginning of one: "call.outcome", "incident.*", "*".
_EVENT: Final = re.compile(r"\*|[a-z][a-z_]*(\.[a-z_]+)*(\.\*)?", re.ASCII)


#: (setting, text, where it stands) to the file that is meant.
Resolve = Callable[[str, str, str], Path]


@dataclass(frozen=True, slots=True)
class Webhook:
    """`[central.webhooks.NAME]`: a receiver of signed messages (docs/webhooks.md). NAME: small letters, digits, _ and -."""

    name: str
    """NAME of its table."""

    url: str
    """Where it is: "https://…", port 443 or 1024 and above; no user, no fragment. "http://" only to a loopback address that is in
    `allow`."""

    secret: Path
    """File (0600) with `whsec_` and base64 of 24 to 64 random bytes; two lines while a receiver changes over, the current one
    first. Read anew each time. Or "credential:NAME"."""

    events: tuple[str, ...]
    """Types that are told, "family.*", or "*": everything."""

    allow: tuple[Network, ...] = ()
    """Networks ("10.1.2.0/24") that are reached although they are not public."""

    ca: Path | None = None
    """PEM of the authorities to trust instead of the system's; central does not start when it cannot be read."""


@dataclass(frozen=True, slots=True)
class Mail:
    """`[central.mail]`: the server that takes mail about incidents and other events. Without the table there is none."""

    host: str
    """Name or address of the server for submission."""

    sender: str
    """Bare address that mail comes from."""

    to: tuple[str, ...]
    """Bare addresses that get each mail."""

    events: tuple[str, ...] = ("incident.*",)
    """Types that are told, as those of a webhook."""

    port: int = 587
    """TCP port of the server. With `security = "tls"` the default is 465."""

    security: str = "starttls"
    """How it is encrypted: "starttls", or "tls" from the first byte. Nothing is sent in the clear."""

    user: str = ""
    """Name to log in with, ASCII, together with `password`. Default: nobody logs in."""

    password: Path | None = None
    """File (0600) with the password of `user`. Or "credential:NAME"."""

    ca: Path | None = None
    """PEM of the authorities to trust instead of the system's; central does not start when it cannot be read."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Everything central tells by itself."""

    webhooks: tuple[Webhook, ...] = ()
    mail: Mail | None = None

    def names(self) -> tuple[str, ...]:
        """Every receiver's name."""
        names = tuple(one.name for one in self.webhooks)
        return names if self.mail is None else (*names, MAIL)

    def wanted(self, kind: str) -> tuple[str, ...]:
        """The names of those who want to hear of this type."""
        names = tuple(one.name for one in self.webhooks if matches(one.events, kind))
        return (*names, MAIL) if self.mail is not None and matches(self.mail.events, kind) else names

    def webhook(self, name: str) -> Webhook | None:
        """The webhook of this name."""
        return next((one for one in self.webhooks if one.name == name), None)


def matches(events: tuple[str, ...], kind: str) -> bool:
    """Whether one of the patterns is this type. `incident.*` is everything below incident."""
    return any(one in ("*", kind) or (one.endswith(".*") and kind.startswith(one[:-1])) for one in events)


def read(webhooks: Any, mail: Any, file: Resolve, where: str) -> Outgoing:
    """The two tables of the configuration; `file` resolves a file's name. Raises CentralError config.webhook,
    config.mail."""
    if not isinstance(webhooks, dict) or not all(isinstance(one, dict) for one in webhooks.values()):
        raise CentralError(
            "config.webhook", "webhooks is a table of tables", where=f"{where}.webhooks", hint="[central.webhooks.NAME]"
        )
    return Outgoing(
        tuple(_webhook(name, table, file, f"{where}.webhooks.{name}") for name, table in webhooks.items()),
        None if mail is None else _mail(mail, file, f"{where}.mail"),
    )


def _webhook(name: str, table: dict[str, Any], file: Resolve, where: str) -> Webhook:
    _known(table, {"url": str, "secret": str, "events": list, "allow": list, "ca": str}, "config.webhook", where)
    if not _NAME.fullmatch(name) or name == MAIL:
        raise CentralError("config.webhook", "a webhook's name is small letters, digits, _ and -", where=where)
    for needed in ("url", "secret", "events"):
        if not table.get(needed):
            raise CentralError("config.webhook", f"{needed} is missing", where=where, hint=f"write {needed} = …")
    allow = _networks(table.get("allow", []), f"{where}.allow")
    check_url(table["url"], allow, f"{where}.url")
    events = _events(table["events"], "config.webhook", f"{where}.events")
    ca = file("ca", table["ca"], f"{where}.ca") if table.get("ca") else None
    return Webhook(name, table["url"], file("secret", table["secret"], f"{where}.secret"), events, allow, ca)


def _mail(table: Any, file: Resolve, where: str) -> Mail:
    kinds = {
        "host": str, "port": int, "security": str, "user": str, "password": str, "from": str, "to": list, "events": list,
        "ca": str,
    }  # fmt: skip
    if not isinstance(table, dict):
        raise CentralError("config.mail", "mail is a table", where=where, hint="[central.mail]")
    _known(table, kinds, "config.mail", where)
    security = table.get("security", "starttls")
    port = table.get("port", 465 if security == "tls" else 587)
    if security not in ("starttls", "tls"):
        raise CentralError("config.mail", 'security is "starttls" or "tls"', where=f"{where}.security")
    if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,253}", table.get("host", ""), re.ASCII) or not 0 < port < 65536:
        raise CentralError("config.mail", "host is a name or an address, port 1 to 65535", where=f"{where}.host")
    to = table.get("to", [])
    if not to or not all(isinstance(one, str) for one in to):
        raise CentralError("config.mail", "to is a list of addresses", where=f"{where}.to")
    _address(table.get("from", ""), f"{where}.from")
    for one in to:
        _address(one, f"{where}.to")
    if bool(table.get("user")) != bool(table.get("password")):
        raise CentralError("config.mail", "user and password (a file) belong together", where=f"{where}.user")
    given: dict[str, Any] = {
        key: file(key, table[key], f"{where}.{key}") for key in ("password", "ca") if table.get(key)
    }
    if "events" in table:
        given["events"] = _events(table["events"], "config.mail", f"{where}.events")
    return Mail(
        table["host"], table["from"], tuple(to), port=port, security=security, user=table.get("user", ""), **given
    )


def _known(table: dict[str, Any], kinds: dict[str, type], code: str, where: str) -> None:
    for key, value in table.items():
        if key not in kinds:
            raise CentralError(
                "config.unknown_key", f"unknown key {key!r}", where=f"{where}.{key}", hint=", ".join(kinds)
            )
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            raise CentralError(code, f"{key} must be of type {kinds[key].__name__}", where=f"{where}.{key}")


def _events(values: list[Any], code: str, where: str) -> tuple[str, ...]:
    if not values or not all(isinstance(one, str) and _EVENT.fullmatch(one) for one in values):
        raise CentralError(code, "events is a list of types", where=where, hint='["call.outcome", "incident.*"]')
    return tuple(values)


def _networks(values: list[Any], where: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(one if isinstance(one, str) else "") for one in values)
    except ValueError as error:
        raise CentralError("config.webhook", f"allow: {error}", where=where, hint='["10.1.2.0/24"]') from error


def _address(text: str, where: str) -> None:
    """A bare address. The header's own parser says whether it is one; a line end is none."""
    try:
        good = (
            text.isprintable() and text.isascii() and bool((spec := Address(addr_spec=text)).domain and spec.username)
        )
    except (ValueError, IndexError):  # what the parser raises for what is no address, and for an empty text
        good = False
    if not good:
        raise CentralError("config.mail", f"not a mail address: {text!r}", where=where, hint="name@example.org")
