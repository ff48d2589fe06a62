"""Keeps this edge's TLS certificate: asks for one when there is none, and for the next at two thirds of its life.

The door it asks at needs no certificate, because the request is signed with the edge's key. So an edge that was away for
longer than its certificate lasted, or whose certificate central no longer believes, comes back by itself.
Write order: key and certificate are one file that is replaced whole; a kill before that leaves the old one, and central
certifies a fresh key once more.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.ports import Clock, Journal
from edge.sync.tlskey import NAME, Certificate, new_key, read_certificate, request_of, tls_pem, write_certificate
from edge.sync.uplink import Refusal, Uplink

_log = structlog.get_logger("sync")

#: How often it is looked at, seconds.
LOOK_S: Final = 60.0
#: A central that issues none is asked again after this time, seconds.
ASK_AGAIN_S: Final = 6 * 3600.0
#: So many requests in a row failed with the certificate: perhaps because of it.
REFUSED: Final = 3
#: A certificate that ends this soon and could not be renewed is worth an alarm.
SOON: Final = timedelta(days=14)


class Certificates:
    """`folder`: the edge's state folder, where `tls.pem` lies."""

    def __init__(self, uplink: Uplink, journal: Journal, clock: Clock, folder: Path) -> None:
        self._uplink = uplink
        self._journal = journal
        self._clock = clock
        self._path = folder / NAME
        self._alarmed = False
        self._again_ns = 0

    async def begin(self) -> Certificate | None:
        """Offer what is on file; what that is."""
        found = await self._on_file()
        if found is not None and self._uplink.certificate != found:
            self._uplink.offer(found)
            self._again_ns = 0
        return found

    async def look(self) -> None:
        """Offer what is on file, and renew it when it is time. Raises CallwardenError sync.*, environment.file."""
        found = await self.begin()
        if found is not None and self._uplink.refused < REFUSED and self._clock.wall() < found.renew_at():
            return
        if self._clock.mono_ns() < self._again_ns:
            return
        try:
            await self._renew()
        except Refusal as refusal:
            if refusal.central_code != "not_found.authority":
                await self._worry(found)
                raise
            # Central issues none: certificates are the operator's, or nobody asks for one.
            self._again_ns = self._clock.mono_ns() + round(ASK_AGAIN_S * 1e9)
            if found is not None and self._uplink.refused >= REFUSED:
                raise CallwardenError(
                    "sync.certificate_refused",
                    "central does not take this edge's TLS certificate, and issues none itself",
                    where=str(self._path),
                    hint="put a certificate of the authority that central believes, with its key, into this file",
                ) from refusal
            await self._worry(found)
        except CallwardenError:
            await self._worry(found)
            raise

    async def _on_file(self) -> Certificate | None:
        try:
            return await asyncio.to_thread(read_certificate, self._path)
        except CallwardenError as error:
            _log.warning("certificate", code=error.code, what=error.message, where=error.where)
            return None  # a fresh one takes its place

    async def _renew(self) -> None:
        key = await asyncio.to_thread(new_key)
        asked = {"csr": request_of(key, self._uplink.edge_id)}
        answer = await self._uplink.post(self._uplink.edge_path("certificate"), asked, bare=True)
        content = tls_pem(key, str(answer.get("certificate")))
        hit("certificate.issued")
        await asyncio.to_thread(write_certificate, self._path, content)
        hit("certificate.written")
        made = await asyncio.to_thread(read_certificate, self._path)
        self._uplink.offer(made)
        self._alarmed = False
        ends = made.ends.isoformat() if made else ""
        await self._journal.note_audit("certificate.renewed", body={"ends": ends})
        _log.info("a TLS certificate was issued to this edge", ends=ends)

    async def _worry(self, found: Certificate | None) -> None:
        """Once: it ends soon and no other could be had."""
        if found is None or self._alarmed or self._clock.wall() < found.ends - SOON:
            return
        self._alarmed = True
        await self._journal.alarm(
            "sync.certificate_ends",
            f"the TLS certificate ends at {found.ends} and is not renewed",
            where=str(self._path),
        )
