"""What `callwarden central init` does: folders, keys, CA, token, configuration. Nothing that exists is overwritten."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import structlog

from central import tls
from central.config import CentralConfig, from_table, load
from central.conn import Conn
from central.db import locally
from central.enrol import check_edge_id, new_token, register, register_person
from central.keyfiles import make_key, read_key, write_new
from central.log import OwnLog
from central.minimise.ring import make_ring
from central.roles import ADMIN
from central.slotfile import SlotFile
from central.state import key_set, utc_now
from central.tokens import PREFIX, TokenRow, listed, make, revoke, token_hash
from formats.ids import format_time
from formats.keys import VerifyKey, b64url
from formats.keyset import KeySet
from formats.note import COSIGNATURE, NoteKey

T = TypeVar("T")
_log = structlog.get_logger("central")


@dataclass
class InitResult:
    """What init made and what it kept because it was there. `ca_fingerprint` is empty without TLS."""

    config_path: Path
    config: CentralConfig
    ca_fingerprint: str = ""
    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def init(
    folder: Path,
    listen: str = "127.0.0.1:8443",
    *,
    fleet: str = "fleet",
    names: Sequence[str] = (),
    use_tls: bool = True,
    data: Path | None = None,
    allow_copy_on_write: bool = False,
    postgres: str = "",
) -> InitResult:
    """Make a central in `folder` (configuration) and `data` (default: the same folder). Raises CentralError.

    `names`: further names and addresses for the server certificate beside 127.0.0.1, ::1, localhost and the listener's.
    `postgres`: where PostgreSQL is, instead of a SQLite file.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    data = data or folder
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    table: dict[str, Any] = {"listen": listen, "fleet": fleet, "data": str(data.resolve()), "tls": use_tls}
    if allow_copy_on_write:
        table["allow_copy_on_write"] = True
    if postgres:
        table["postgres"] = postgres
    from_table(table, base=folder.resolve())  # refuse bad values before anything is written
    path = folder / "central.toml"
    made_config = write_new(path, _toml(table).encode(), 0o644)
    config = load(path)
    result = InitResult(path, config)
    _note(result, path, made_config)
    for key in (config.store_key, config.witness_key):
        _note(result, key, make_key(key))
    _note(result, config.search_keys, make_ring(config.search_keys))
    if config.tls:
        _certificates(result, config, names)
        result.ca_fingerprint = tls.fingerprint(config.ca.read_bytes())
    fresh = not config.database.exists()
    locally(config, lambda conn: None)
    if not config.postgres:
        _note(result, config.database, fresh)
    fresh = not config.keeper.exists()
    if fresh:  # else it may be in use
        SlotFile(config.keeper, allow_copy_on_write=config.allow_copy_on_write).close()
    _note(result, config.keeper, fresh)
    token = PREFIX + b64url(secrets.token_bytes(32))
    # The row first: a token file without its row would never work, a row without a file harms nobody.
    if not config.token.exists():
        now = format_time(utc_now())
        row = (token_hash(token), "init", ADMIN, now)
        insert = "INSERT INTO admin_token(token_sha256, label, role, created_at) VALUES (?,?,?,?)"
        locally(config, lambda conn: conn.execute(insert, row))
    _note(result, config.token, write_new(config.token, token.encode() + b"\n"))
    return result


def register_edge(config: CentralConfig, edge_id: str, key: VerifyKey) -> bool:
    """Pin an edge's key directly in the database (same host); False when it was there. Raises CentralError."""
    now = format_time(utc_now())

    def job(conn: Conn) -> bool:
        made = register(conn, now, check_edge_id(edge_id), key)
        if made:
            OwnLog().append(conn, now, "edge.enrolled", {"edge_id": edge_id, "kid": key.kid})
        return made

    return locally(config, job)


def register_key(config: CentralConfig, role: str, owner: str, key: VerifyKey) -> bool:
    """Add a person's public key (`dpo`, `auditor`) directly; False when it was there. Raises CentralError."""
    now = format_time(utc_now())
    own = [read_key(path).kid for path in (config.store_key, config.witness_key)]

    def job(conn: Conn) -> bool:
        made = register_person(conn, now, role, owner, key, own)
        if made:
            OwnLog().append(conn, now, "key.registered", {"kid": key.kid, "role": role})
        return made

    return locally(config, job)


def enrol_token(config: CentralConfig, edge_id: str | None = None) -> tuple[str, str]:
    """A one-time enrolment token and when it ends, made directly in the database."""
    if edge_id is not None:
        check_edge_id(edge_id)
    fingerprint = tls.fingerprint(config.ca.read_bytes()) if config.tls else ""
    return locally(config, lambda conn: new_token(conn, format_time(utc_now()), fingerprint, edge_id))


def token_new(config: CentralConfig, role: str, label: str, days: int | None) -> tuple[str, TokenRow]:
    """A bearer token and its row, made directly in the database (same host)."""
    return locally(config, lambda conn: make(conn, OwnLog(), format_time(utc_now()), role, label, days, None))


def token_list(config: CentralConfig) -> list[TokenRow]:
    """Every token, oldest first."""
    return locally(config, listed)


def token_revoke(config: CentralConfig, token_id: str) -> TokenRow:
    """The token opens nothing any more. Raises CentralError not_found.token."""

    def unnoted(why: str) -> None:
        _log.warning("the token is revoked, but a restore of the database would not know", why=why)

    now = format_time(utc_now())
    return locally(config, lambda conn: revoke(conn, OwnLog(), now, token_id, None, config.keeper, unnoted))


def trust(config: CentralConfig, edge_id: str | None = None) -> KeySet:
    """The key set as central has it now: what an edge pins (only its own key), or all edges' with None."""
    store, witness = read_key(config.store_key).verify_key, read_key(config.witness_key).verify_key
    return locally(config, lambda conn: key_set(conn, store, witness, config.witness_name, edge_id=edge_id))


def vkey(config: CentralConfig) -> str:
    """The witness's verifier key line, for `audit verify`."""
    return str(NoteKey(config.witness_name, COSIGNATURE, read_key(config.witness_key).verify_key))


def _certificates(result: InitResult, config: CentralConfig, names: Sequence[str]) -> None:
    now = utc_now()
    ca_key = config.ca.with_suffix(".key")
    if not config.ca.exists() and not ca_key.exists():
        certificate, key = tls.make_ca(config.fleet, now)
        write_new(ca_key, key)
        _note(result, ca_key, True)
        _note(result, config.ca, write_new(config.ca, certificate, 0o644))
    else:
        result.kept += [ca_key, config.ca]
    if config.certificate.exists():
        result.kept += [config.certificate_key, config.certificate]
        return
    wanted = list(dict.fromkeys(["localhost", "127.0.0.1", "::1", config.host, *names]))
    wanted = [name for name in wanted if name not in ("0.0.0.0", "::")]  # noqa: S104 - nobody connects to "any"
    certificate, key = tls.make_server(config.ca.read_bytes(), ca_key.read_bytes(), wanted, now)
    _note(result, config.certificate_key, write_new(config.certificate_key, key))
    _note(result, config.certificate, write_new(config.certificate, certificate, 0o644))


def _note(result: InitResult, path: Path, made: bool) -> None:
    (result.made if made else result.kept).append(path)


def _toml(table: dict[str, Any]) -> str:
    lines = ["# Central's configuration. Secrets are files beside it, never values in here."]
    lines += ["# Every setting: docs/central-configuration.md. Read when central starts.", "[central]"]
    for name, value in table.items():
        # JSON's strings are TOML basic strings; booleans are spelled the same.
        lines.append(f"{name} = {_spell(value)}")
    return "\n".join(lines) + "\n"


def _spell(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
