"""The numbers of a call as they travel: in clear or as a hash under the fleet's search key, read when they are sent.

The key is a file of mode 0600. It is fetched when the first hash is to be made, and again when central says that it has another
one: sealed to a key made for that one answer, in a statement of the store's.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge.durable import write_file
from edge.errors import CallwardenError
from edge.ports import Journal
from edge.sync.uplink import Refusal, Uplink
from formats import search
from formats.errors import FormatError
from formats.jws import verify_compact
from formats.keys import b64url
from formats.keyset import KeySet
from formats.search import MOST_NUMBERS, SearchKey


class Numbers:
    """What `call.numbers` says. `trust`: pinned keys; `file`: where the search key lies."""

    def __init__(self, uplink: Uplink, journal: Journal, trust: KeySet, file: Path) -> None:
        self._uplink = uplink
        self._journal = journal
        self._trust = trust
        self._file = file
        self._key: SearchKey | None = None
        self._stale = False
        self._lacking = False

    async def told(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The event's data: `numbers` are those stored now, none where the policy lets none travel; without `numbers` where
        they cannot be hashed because central has no key.

        Raises CallwardenError sync.* when the key cannot be fetched now, journal.*.
        """
        form = body.get("form")
        if form not in search.FORMS:  # or a call that became anonymous: what was said before is to go
            return {**body, "form": "none", "numbers": []}
        found = (await self._journal.numbers_of(str(body["call_id"])))[:MOST_NUMBERS]
        if form == "clear":
            return {**body, "numbers": [{"party_id": party, "number": number} for party, number in found]}
        if not found:
            return {**body, "numbers": []}
        key = await self._search_key()
        if key is None:
            return dict(body)
        hashes = [{"party_id": party, "number": key.hash(number)} for party, number in found]
        return {**body, "key_id": key.id, "numbers": hashes}

    def noticed(self, key_id: object) -> None:
        """Central named its key: another one than ours is fetched before the next hash is made."""
        if isinstance(key_id, str):
            self._stale, self._lacking = self._key is not None and self._key.id != key_id, False

    async def _search_key(self) -> SearchKey | None:
        if self._key is None:
            self._key = await asyncio.to_thread(self._read)
        if (self._key is None or self._stale) and not self._lacking:
            await self._fetch()
        return self._key

    async def _fetch(self) -> None:
        private = X25519PrivateKey.generate()
        public = b64url(private.public_key().public_bytes_raw())
        try:
            answer = await self._uplink.post(self._uplink.edge_path("search-key"), {"public": public})
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            self._lacking, self._stale = True, False  # until central names one
            await self._journal.alarm(
                "sync.search_key", "central has no search key: numbers that policies let travel as hashes stay here",
                where="search-key",
            )  # fmt: skip
            return
        try:
            jws = msgspec.convert(answer.get("jws"), str)
            payload = verify_compact(jws, self._trust, search.TYP, "store").payload
            key = search.open_key(payload, self._uplink.edge_id, private)
        except (FormatError, msgspec.ValidationError) as error:
            raise CallwardenError(
                "sync.search_key", f"central's search key does not verify: {error}", where="search-key", retryable=True
            ) from error
        try:
            await asyncio.to_thread(write_file, str(self._file), key.key.hex().encode() + b"\n")
        except OSError as error:
            raise CallwardenError(
                "sync.search_key", f"the search key cannot be kept: {error}", where=str(self._file), retryable=True
            ) from error
        self._key, self._stale = key, False

    def _read(self) -> SearchKey | None:
        """The key in the file; None where there is none, or one that others could read: it is fetched anew."""
        try:
            if stat.S_IMODE(self._file.stat().st_mode) & 0o077:
                return None
            return SearchKey(bytes.fromhex(self._file.read_text("ascii").strip()))
        except (OSError, ValueError, FormatError):
            return None
