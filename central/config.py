"""Central's configuration: one TOML file into a frozen value. Secrets are files it names, never values in it."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from central.cases.settings import CaseSettings
from central.cases.settings import parse as parse_cases
from central.errors import CentralError
from central.fleet.settings import EdgeAlarms, certificates, edge_alarms
from central.hooks.settings import Outgoing
from central.hooks.settings import read as read_outgoing
from central.media.settings import NO_MEDIA, MediaConfig
from central.media.settings import from_table as media_from_table
from formats.credentials import credential

#: Words that are loopback without asking a resolver.
_LOOPBACK_NAMES = ("localhost", "ip6-localhost")


@dataclass(frozen=True, slots=True)
class CentralConfig:
    """Where central listens and where its files lie.

    host, port: TCP address (port 0 takes a free one, for tests). fleet: name that orders carry. data: folder, 0700.
    tls: HTTPS; plain HTTP only on loopback. Paths are absolute. poll_max_s: longest a long-poll waits, in seconds.
    level: what is separated here (docs/spec/certificate.md), 0 to 3, printed in certificates; nobody can find it out but
    whoever set this up, so it is 0 until they say more.
    postgres: where PostgreSQL is, as libpq spells it ("postgresql://callwarden@/callwarden?host=/run/postgresql"), without
    a password (use peer authentication or a passfile); "" keeps everything in the SQLite file `database`. connections:
    how many of them this process opens to PostgreSQL. keeper_socket: where `callwarden central keeper` listens, for several
    processes on one PostgreSQL; None: this process keeps the keys itself. search_keys: the fleet's keys for search by number.
    country: where national spellings of numbers are at home in a search ("CZ"); "": only international ones are read.
    client_certificates: TLS certificates of edges: "off" asks for none, "wanted" checks those that are offered, "demanded"
    turns away requests without. client_ca: PEM of the operator's authorities for them; then central issues none itself; None:
    central's own authority. approve_enrolments: an enrolled edge waits until somebody compared its code.
    edges: when an edge's state is worth an alarm (`[central.edges]`). media: `[central.media]`.
    outgoing: webhooks and mail (docs/webhooks.md).
    cases: deadlines and records (`[central.cases]`).
    register: the file with what people state for the register of processing (docs/register.md); None: nothing is stated, and
    the register says so. bulk_erasures: more recordings than this in one key's orders of a day are an incident.
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


_DEFAULTS: dict[str, Any] = {
    "listen": "127.0.0.1:8443",
    "fleet": "fleet",
    "data": ".",
    "database": "central.db",
    "keeper": "keeper.keys",
    "store_key": "store.key",
    "witness_key": "witness.key",
    "token": "central.token",
    "search_keys": "search.keys",
    "country": "",
    "tls": True,
    "ca": "ca.crt",
    "certificate": "server.crt",
    "certificate_key": "server.key",
    "allow_copy_on_write": False,
    "poll_max_s": 30,
    "level": 0,
    "postgres": "",
    "connections": 8,
    "keeper_socket": "",
    "client_certificates": "wanted",
    "client_ca": "",
    "approve_enrolments": False,
    "edges": {},
    "media": {},
    "cases": {},
    "register": "",
    "bulk_erasures": 100,
}


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

    Raises CentralError config.* naming file and key.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CentralError(
            "config.missing", "there is no such file", where=str(path), hint="run `callwarden central init`"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CentralError("config.unreadable", str(error), where=str(path)) from error
    unknown = sorted(set(document) - {"central"})
    table = document.get("central", {})
    if unknown or not isinstance(table, dict):
        raise CentralError("config.unknown_key", f"unknown table {unknown}", where=str(path), hint="only [central]")
    return from_table(table, base=path.resolve().parent, where=str(path))


def from_table(table: dict[str, Any], *, base: Path, where: str = "central") -> CentralConfig:
    """The `[central]` table into a configuration; `base` is the folder of the file. Raises CentralError config.*."""
    table = dict(table)
    webhooks, mail = table.pop("webhooks", {}), table.pop("mail", None)
    for key, value in table.items():
        if key not in _DEFAULTS:
            raise CentralError("config.unknown_key", f"unknown key {key!r}", where=where, hint=", ".join(_DEFAULTS))
        kind = type(_DEFAULTS[key])
        if not (isinstance(value, kind) or (kind is int and isinstance(value, float))) or (
            kind is int and isinstance(value, bool)
        ):
            raise CentralError("config.type", f"{key} must be of type {kind.__name__}", where=where)
    full = _DEFAULTS | table
    host, port = split_listen(full["listen"], where)
    _refuse_plain_http(host, full["tls"], where)
    fleet = full["fleet"]
    if not fleet or any(c.isspace() or c in "+/" or not c.isprintable() for c in fleet):
        raise CentralError("config.fleet", "fleet must be a word without spaces, + and /", where=where)
    data = (base / full["data"]).resolve()
    return CentralConfig(
        host=host,
        port=port,
        fleet=fleet,
        data=data,
        **{
            name: _file(data, name, full[name], where)
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
        poll_max_s=float(full["poll_max_s"]),
        postgres=refuse_password(full["postgres"], where),
        level=_level(full["level"], where),
        connections=_whole(full["connections"], "connections", 1, 100, where),
        keeper_socket=data / full["keeper_socket"] if full["keeper_socket"] else None,
        client_certificates=certificates(full["client_certificates"], full["tls"], where),
        client_ca=data / full["client_ca"] if full["client_ca"] else None,
        approve_enrolments=full["approve_enrolments"],
        edges=edge_alarms(full["edges"], where),
        media=media_from_table(full["media"], data, where),
        outgoing=read_outgoing(webhooks, mail, lambda name, text: _told_file(data, name, text, where), where),
        cases=parse_cases(full["cases"]),
        register=base / full["register"] if full["register"] else None,
        country=_country(full["country"], where),
        bulk_erasures=_whole(full["bulk_erasures"], "bulk_erasures", 20, 1_000_000, where),
    )


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


def _whole(count: float, name: str, low: int, high: int, where: str) -> int:
    if not low <= count <= high:
        raise CentralError(f"config.{name}", f"{name} must be {low} to {high}", where=where)
    return int(count)


def _country(country: str, where: str) -> str:
    if country and not re.fullmatch(r"[A-Z]{2}", country):
        raise CentralError("config.country", "country is two capital letters", where=where, hint='country = "CZ"')
    return country


def _level(level: Any, where: str) -> int:
    if level not in (0, 1, 2, 3):
        raise CentralError(
            "config.level", "level must be 0, 1, 2 or 3", where=where, hint="see docs/spec/certificate.md"
        )
    return int(level)
