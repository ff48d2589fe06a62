"""Asks central's keeper to destroy its recovery copies; part of the erase, before anything is unlinked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edge.errors import CallwardenError
from edge.sync.uplink import Uplink
from formats import canonical
from formats.errors import FormatError
from formats.jws import verify_compact
from formats.keyset import KeySet

TYP = "callwarden-keeper+json"


class Keeper:
    """KeeperPort over HTTP. `trust` holds central's store key, pinned at enrolment."""

    def __init__(self, uplink: Uplink, trust: KeySet) -> None:
        self._uplink = uplink
        self._trust = trust

    async def shred(self, recording_id: str, key_ids: Sequence[str], jti: str | None) -> Mapping[str, Any]:
        """`{"claims": …, "jws": …}`: the statement, its signature by the store key checked, about this recording.

        Raises CallwardenError sync.* when central is not reachable or its statement does not verify.
        """
        return await self._asked({"recording_id": recording_id, "key_ids": list(key_ids), "jti": jti})

    async def shred_keys(self, recording_id: str, key_ids: Sequence[str]) -> Mapping[str, Any]:
        """As `shred`, of these keys only: the recording stays, and its other keys with it."""
        return await self._asked({"recording_id": recording_id, "key_ids": list(key_ids), "jti": None, "only": True})

    async def _asked(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        recording_id = body["recording_id"]
        answer = await self._uplink.post(self._uplink.edge_path("keeper/shred"), body)
        try:
            jws = msgspec.convert(answer.get("jws"), str)
            claims = canonical.loads(verify_compact(jws, self._trust, TYP, "store").payload)
        except (FormatError, msgspec.ValidationError) as error:
            raise CallwardenError(
                "sync.statement", f"the keeper's statement does not verify: {error}", where=recording_id, retryable=True
            ) from error
        if not isinstance(claims, dict) or (claims.get("recording_id"), claims.get("edge_id")) != (
            recording_id,
            self._uplink.edge_id,
        ):
            raise CallwardenError(
                "sync.statement", "the keeper's statement is about something else", where=recording_id
            )
        return {"claims": claims, "jws": jws}
