"""`[central]` as it is written. docs/central-configuration.md is made from the docstrings, and the defaults are those that hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class CentralTable:
    """`[central]`: where central listens, where its files lie, and whom it takes for an edge."""

    listen: str = "127.0.0.1:8443"
    """Address and TCP port, "host:port" or "[v6]:port"; `callwarden central run --listen` wins over it."""

    fleet: str = "fleet"
    """Name of this fleet, in every order and in the origin of central's log. One word without spaces, "+" and "/". Never change it
    afterwards."""

    data: Path = Path(".")
    """Folder (0700) that relative names of files below are relative to; itself relative to this file."""

    database: Path = Path("central.db")
    """The SQLite file with every row. On a local disk. Not used once `postgres` is set."""

    keeper: Path = Path("keeper.keys")
    """The keeper's file: keys for recovery, and keys of cases, each in a slot that is overwritten to erase. Never in a backup, and
    not on a copy-on-write file system."""

    store_key: Path = Path("store.key")
    """File (0600) with the store's Ed25519 key as a private JWK: signs orders, deliveries and certificates. Or "credential:NAME"."""

    witness_key: Path = Path("witness.key")
    """File (0600) with the witness's Ed25519 key: cosigns the heads of edges' audit logs. Or "credential:NAME"."""

    token: Path = Path("central.token")
    """File (0600) with the administrator's bearer token for commands on this host. Or "credential:NAME"."""

    search_keys: Path = Path("search.keys")
    """File (0600) with the fleet's keys for search by number; an edge whose policy says `number = "hashed"` fetches
    the newest. Or "credential:NAME"."""

    tls: bool = True
    """HTTPS. False (plain HTTP) is taken on a loopback address only."""

    ca: Path = Path("ca.crt")
    """PEM of the authority that signed `certificate`; `callwarden central init` makes both."""

    certificate: Path = Path("server.crt")
    """PEM of the server's certificate, the chain after it."""

    certificate_key: Path = Path("server.key")
    """File (0600) with the PEM of the certificate's private key. Or "credential:NAME"."""

    client_certificates: str = "wanted"
    """TLS certificates of edges: "off" asks for none (a proxy in front ends TLS), "wanted" checks those that are offered,
    "demanded" turns away requests without one and needs `tls`."""

    client_ca: Path | None = None
    """PEM of your own authorities for the certificates of edges; central then issues none. Default: central's own authority."""

    approve_enrolments: bool = False
    """Whether an edge that enrolled is not heard before somebody compared its code (`callwarden central edge approve`)."""

    postgres: str = ""
    """Where PostgreSQL is, as libpq spells it, without a password: peer authentication or a passfile. Default: SQLite."""

    connections: int = 8
    """How many connections to PostgreSQL each process opens, 1 to 100."""

    keeper_socket: Path | None = None
    """Unix socket where `callwarden central keeper` listens, for several processes on one PostgreSQL. Default: this process keeps
    the keys itself."""

    poll_max_s: float = 30.0
    """Longest time an edge's request for orders waits for one, 0 to 3600 seconds."""

    level: int = 0
    """What is separated here, 0 to 3 (docs/spec/certificate.md); printed in every certificate. Nobody but you can know it, so it
    is 0 until you say more."""

    country: str = ""
    """Two capital letters: where national spellings of numbers are at home in a search. Default: only international ones are read."""

    register: Path | None = None
    """File with what people state for the register of processing (docs/register.md), relative to this file. Default: nothing is
    stated, and the register says so."""

    bulk_erasures: int = 100
    """More recordings than this that the orders of one key name within a day, at all edges together, are an incident
    (docs/incidents.md), 20 to 1000000."""

    allow_copy_on_write: bool = False
    """Whether the keeper's file may lie on btrfs, zfs or overlay. There an overwritten key may stay on the disk: erasing is weaker."""


def defaults(kind: type) -> Mapping[str, Any]:
    """Each setting of a dataclass whose fields have defaults, with its default as TOML has it: a path is text, none is ""."""
    return {one.name: _written(one.default) for one in fields(kind)}


def _written(default: Any) -> Any:
    return "" if default is None else str(default) if isinstance(default, Path) else default
