"""Where the authority for edges' certificates lies, and whether central issues any."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from central.config import CentralConfig
from central.conn import Conn
from central.errors import CentralError
from central.fleet.clientcert import Issued, issue
from central.state import Central
from formats.ids import format_time


def authority(config: CentralConfig) -> Path | None:
    """PEM of the authorities whose client certificates are believed; None where none is asked for."""
    if not config.tls or config.client_certificates == "off":
        return None
    return config.client_ca or config.ca


def issues(config: CentralConfig) -> bool:
    """Whether central issues certificates to edges."""
    return authority(config) is not None and config.client_ca is None and _key(config).exists()


def _key(config: CentralConfig) -> Path:
    return config.ca.with_suffix(".key")


def issue_for(config: CentralConfig, edge_id: str, csr: str, now: datetime) -> Issued:
    """A certificate by central's own authority (blocking). Raises CentralError auth.csr, not_found.authority (404)."""
    key = _key(config)
    if not issues(config):
        raise CentralError(
            "not_found.authority",
            "central issues no certificates",
            status=404,
            where="[central] client_certificates, client_ca",
            hint="they are the operator's: put certificate and key into the edge's state folder as tls.pem",
        )
    return issue(config.ca.read_bytes(), key.read_bytes(), edge_id, csr, now)


def note_issued(central: Central, conn: Conn, edge_id: str, issued: Issued) -> None:
    """Job: until when the edge has a certificate, and an entry in central's log."""
    ends = format_time(issued.ends)
    conn.execute("UPDATE edge SET certificate_ends=? WHERE edge_id=?", (ends, edge_id))
    said = {"edge_id": edge_id, "serial": issued.serial, "ends": ends}
    central.log.append(conn, central.now(), "certificate.issued", said)
