"""Central's configuration: one TOML file into a frozen value. Secrets are files it names, never values in it."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from central.cases.settings import CaseSettings
from central.cases.settings import parse as parse_cases
from central.errors import CentralError
from central.fleet.settings import EdgeAlarms, certificates, edge_alarms
from central.hooks.settings import Outgoing
from central.hooks.settings import read as read_outgoing
from central.media.settings import NO_MEDIA, MediaConfig
from central.media.settings import from_table as media_from_table
from central.plainsecrets import refuse_secrets
from central.written import CentralTable, defaults
from formats.credentials import credential
from formats.tomlplaces import places

#: Words that are loopback without asking a resolver.
_LOOPBACK_NAMES = ("localhost", "ip6-localhost")


@dataclass(frozen=True, slots=True)
class CentralConfig:
    """What `CentralTable` says (there each setting is explained), with absolute paths and the tables below it.

    host, port: of `listen`; port 0 takes a free one, for tests. keeper_socket, client_ca, register: None where nothing is named.
    edges, media, cases: `[central.edges]`, `[central.media]`, `[central.cases]`. outgoing: webhooks and mail.
    """

    host: str
    port: int
    fleet: str
    data: Path
    database: Path
    keeper: Path
    store_key: Path
    witness_key: Path
    token: Path
    search_keys: Path
    tls: bool
    ca: Path
    certificate: Path
    certificate_key: Path
    allow_copy_on_write: bool
    poll_max_s: float
    level: int
    postgres: str = ""
    connections: int = 8
    keeper_socket: Path | None = None
    client_certificates: str = "wanted"
    client_ca: Path | None = None
    approve_enrolments: bool = False
    edges: EdgeAlarms = field(default_factory=EdgeAlarms)
    media: MediaConfig = NO_MEDIA
    outgoing: Outgoing = field(default_factory=Outgoing)
    cases: CaseSettings = field(default_factory=CaseSettings)
    register: Path | None = None
    country: str = ""
    bulk_erasures: int = 100

    @property
    def url(self) -> str:
        """The base URL of the configured address (not of an ephemeral port); loopback where it listens everywhere."""
        reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - nobody connects to "any"
        host = f"[{reached}]" if ":" in reached else reached
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def log_origin(self) -> str:
        """Origin line of central's own log."""
        return f"callwarden/{self.fleet}/central"

    @property
    def witness_name(self) -> str:
        """Key name of the witness in cosignatures."""
        return f"callwarden/{self.fleet}/witness"


#: Every key of `[central]` that is not a table, with its default.
_DEFAULTS: Final = defaults(CentralTable)
_TABLES: Final = ("edges", "media", "cases", "webhooks", "mail")
_EVERY_SETTING: Final = "docs/central-configuration.md lists every setting"


def split_listen(listen: str, where: str = "central.listen") -> tuple[str, int]:
    """`host:port` or `[v6]:port` apart. Raises CentralError config.listen."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise CentralError("config.listen", f"not an address: {listen!r}", where=where, hint='write "127.0.0.1:8443"')
    return host.strip("[]"), int(port)


def listening_at(settings: CentralConfig, listen: str) -> CentralConfig:
    """The same at another address. Raises CentralError config.listen, config.plain_http."""
    host, port = split_listen(listen, "--listen")
    _refuse_plain_http(host, settings.tls, "--listen")
    return replace(settings, host=host, port=port)


def _refuse_plain_http(host: str, tls: bool, where: str) -> None:
    if not tls and not is_loopback(host):
        raise CentralError(
            "config.plain_http", f"plain HTTP is for loopback only, not {host}", where=where, hint="set tls = true"
        )


def is_loopback(host: str) -> bool:
    """Whether `host` can only be reached from this machine (names are not resolved)."""
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


#: Files that may come from systemd.
_SECRETS = ("store_key", "witness_key", "token", "certificate_key", "search_keys", "secret", "password")


def _file(data: Path, name: str, text: str, where: str) -> Path:
    """A file of central's; a secret may be `credential:NAME`. Raises CentralError config.credential."""
    try:
        found = credential(text, os.environ) if name in _SECRETS else None
    except ValueError as error:
        raise CentralError("config.credential", f"{name}: {error}", where=where) from error
    return found or data / text


def _told_file(data: Path, name: str, text: str, where: str) -> Path:
    """A file of webhooks or mail; authorities that cannot be read are found now and not when something happened. Raises
    CentralError config.credential, config.ca."""
    found = _file(data, name, text, where)
    if name == "ca":
        try:
            ssl.create_default_context(cafile=str(found))
        except (OSError, ValueError) as error:
            raise CentralError(
                "config.ca", f"{found}: {error}", where=where, hint="a PEM file with the authorities to believe"
            ) from error
    return found


def load(path: Path) -> CentralConfig:
    """Read `central.toml`. Relative paths are relative to `data`, which is relative to the file.

    Raises CentralError config.*, `where` being "file:line: key", and always with a hint.
    """
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise CentralError(
            "config.missing", "there is no such file", where=str(path), hint="run `callwarden central init`"
        ) from None
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\(at line (\d+), column \d+\)", str(error))
        raise CentralError(
            "config.unreadable",
            f"not TOML: {error}",
            where=f"{path}:{at[1]}" if at else str(path),
            hint="quotes around text, one key per line",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CentralError("config.unreadable", str(error), where=str(path), hint="a text file in UTF-8") from error
    try:
        refuse_secrets(document, "")
        for name, table in document.items():
            if name != "central" or not isinstance(table, dict):
                raise CentralError("config.unknown_key", f"unknown table {name!r}", where=name, hint="only [central]")
        return from_table(document.get("central", {}), base=path.resolve().parent)
    except CentralError as error:
        error.where, error.hint = place(path, text, error.where), error.hint or _EVERY_SETTING
        raise


def place(path: Path, text: str, key: str) -> str:
    """ "file:line: key"; the line of the nearest table where the key itself is not written."""
    lines = {".".join(str(part) for part in known): line for known, line in places(text).items()}
    near = key
    while near and near not in lines:
        near = near.rpartition(".")[0]
    return f"{path}:{lines[near]}: {key}" if near else f"{path}: {key}"


def from_table(table: dict[str, Any], *, base: Path) -> CentralConfig:
    """The `[central]` table into a configuration; `base` is the folder of the file. Raises CentralError config.*, `where` being
    the key ("central.media.bucket")."""
    plain = {key: value for key, value in table.items() if key not in _TABLES}
    for key, value in plain.items():
        if key not in _DEFAULTS:
            known = ", ".join((*_DEFAULTS, *_TABLES))
            raise CentralError("config.unknown_key", f"unknown key {key!r}", where=_at(key), hint=known)
        kind = type(_DEFAULTS[key])
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise CentralError("config.type", f"{key} must be of type {kind.__name__}", where=_at(key))
    for key in ("edges", "media", "cases"):
        if not isinstance(table.get(key, {}), dict):
            raise CentralError("config.type", f"{key} is a table", where=_at(key), hint=f"[central.{key}]")
    full = {**_DEFAULTS, **plain}
    host, port = split_listen(full["listen"])
    _refuse_plain_http(host, full["tls"], _at("tls"))
    fleet = full["fleet"]
    if not fleet or any(c.isspace() or c in "+/" or not c.isprintable() for c in fleet):
        raise CentralError("config.fleet", "fleet must be a word without spaces, + and /", where=_at("fleet"))
    data = (base / full["data"]).resolve()
    return CentralConfig(
        host=host,
        port=port,
        fleet=fleet,
        data=data,
        **{
            name: _file(data, name, full[name], _at(name))
            for name in (
                "database",
                "keeper",
                "store_key",
                "witness_key",
                "token",
                "search_keys",
                "ca",
                "certificate",
                "certificate_key",
            )
        },
        tls=full["tls"],
        allow_copy_on_write=full["allow_copy_on_write"],
        poll_max_s=float(_within(full, "poll_max_s", 0, 3600)),
        postgres=refuse_password(full["postgres"], _at("postgres")),
        level=_level(full["level"]),
        connections=_within(full, "connections", 1, 100),
        keeper_socket=data / full["keeper_socket"] if full["keeper_socket"] else None,
        client_certificates=certificates(full["client_certificates"], full["tls"], _at("client_certificates")),
        client_ca=data / full["client_ca"] if full["client_ca"] else None,
        approve_enrolments=full["approve_enrolments"],
        edges=edge_alarms(table.get("edges", {}), _at("edges")),
        media=media_from_table(table.get("media", {}), data, _at("media")),
        outgoing=read_outgoing(
            table.get("webhooks", {}),
            table.get("mail"),
            partial(_told_file, data),
            "central",
        ),
        cases=parse_cases(table.get("cases", {})),
        register=base / full["register"] if full["register"] else None,
        country=_country(full["country"]),
        bulk_erasures=_within(full, "bulk_erasures", 20, 1_000_000),
    )


def _at(key: str) -> str:
    return f"central.{key}"


def refuse_password(where_it_is: str, where: str) -> str:
    """The conninfo itself. Raises CentralError config.secret when it holds a password."""
    if re.search(r"password\s*=", where_it_is) or re.match(r"\w+://[^/@]*:[^/@]*@", where_it_is):
        raise CentralError(
            "config.secret",
            "postgres must not hold a password",
            where=where,
            hint='use peer authentication, or "…?passfile=/etc/callwarden/central/pgpass" with a file of mode 0600',
        )
    return where_it_is


def _within(full: Mapping[str, Any], name: str, low: int, high: int) -> Any:
    if not low <= full[name] <= high:
        raise CentralError(f"config.{name}", f"{name} must be {low} to {high}", where=_at(name))
    return full[name]


def _country(country: str) -> str:
    if country and not re.fullmatch(r"[A-Z]{2}", country):
        raise CentralError(
            "config.country", "country is two capital letters", where=_at("country"), hint='country = "CZ"'
        )
    return country


def _level(level: int) -> int:
    if level not in (0, 1, 2, 3):
        raise CentralError(
            "config.level", "level must be 0, 1, 2 or 3", where=_at("level"), hint="see docs/spec/certificate.md"
        )
    return level
