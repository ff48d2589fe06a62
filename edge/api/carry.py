"""What the routes share: the desks of an application, who is at the other end, numbers in a query."""

from __future__ import annotations

import socket
import struct

from aiohttp import web

from edge.api.actdesk import ActDesk
from edge.api.auditdesk import AuditDesk
from edge.api.backupdesk import BackupDesk
from edge.api.desk import Desk
from edge.api.evidencedesk import EvidenceDesk
from edge.api.keepingdesk import KeepingDesk
from edge.api.words import ReadBy
from edge.errors import CallwardenError

DESK = web.AppKey("desk", Desk)
ACTS = web.AppKey("acts", ActDesk)
AUDIT = web.AppKey("audit", AuditDesk)
BACKUPS = web.AppKey("backups", BackupDesk)
EVIDENCE = web.AppKey("evidence", EvidenceDesk)
KEEPING = web.AppKey("keeping", KeepingDesk)


def peer_uid(request: web.Request) -> int:
    """uid of the process at the other end, from the kernel (SO_PEERCRED)."""
    assert request.transport is not None
    peer = request.transport.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def reader(request: web.Request) -> ReadBy:
    """Who reads and what for."""
    return ReadBy(peer_uid(request), request.query.get("purpose", ""), request.query.get("case", ""))


def listener(request: web.Request) -> ReadBy:
    """As `reader`, and as what and which part of a recording."""
    query, span = request.query, None
    if "from_ms" in query or "to_ms" in query:
        span = (number(request, "from_ms", 0), number(request, "to_ms", 0))
    return ReadBy(peer_uid(request), query.get("purpose", ""), query.get("case", ""), query.get("form", ""), span)


def number(request: web.Request, name: str, default: int) -> int:
    """A whole number of the query. Raises usage.number."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise CallwardenError("usage.number", "not a number", where=name)
    return int(text)
