"""A network between one real edge and a real central that loses, doubles, delays and reorders what is sent over it.

Requests are signed by the edge's own uplink and go over real HTTP; what happens to each is drawn from a seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from edge.errors import CallwardenError
from edge.sync.uplink import Uplink, _answer

#: What may happen to a request, and how often in a hundred while the weather is bad.
FATES: dict[str, int] = {"passes": 52, "lost": 12, "answer_lost": 14, "doubled": 10, "delayed": 12}


@dataclass
class Storm:
    """`bad`: fates are drawn; `cut`: nothing passes. `seen` counts what happened, by fate."""

    rng: random.Random
    bad: bool = False
    cut: bool = False
    seen: dict[str, int] = field(default_factory=dict)
    _late: list[tuple[str, URL, bytes, dict[str, str]]] = field(default_factory=list)
    _session: aiohttp.ClientSession | None = None

    def over(self, uplink: Uplink) -> None:
        """From now on everything that this edge says goes through the storm."""

        async def request(
            method: str, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float, bare: bool = False
        ) -> dict[str, Any]:
            url = URL(uplink._base + path, encoded=True)
            signed = {**headers, "Authorization": uplink._authorization(method, path, body)}
            fate = self._fate()
            self.seen[fate] = self.seen.get(fate, 0) + 1
            if fate == "delayed":
                self._late.append((method, url, body, signed))
            if fate in ("cut", "lost", "delayed"):
                raise CallwardenError("sync.unreachable", f"the network: {fate}", retryable=True)
            status, raw = await self._send(method, url, body, signed)
            if fate == "doubled":
                await self._send(method, url, body, signed)
            if fate == "answer_lost":
                raise CallwardenError("sync.unreachable", "the network: answer lost", retryable=True)
            return _answer(status, raw, str(url))

        uplink._request = request  # type: ignore[method-assign,assignment]

    async def arrive(self) -> None:
        """Some of what was delayed arrives now, in any order; its answers go nowhere."""
        self.rng.shuffle(self._late)
        for _ in range(self.rng.randint(0, len(self._late))):
            method, url, body, signed = self._late.pop()
            await self._send(method, url, body, signed)

    async def heal(self) -> None:
        """The sky clears; what was on its way arrives."""
        self.bad = self.cut = False
        while self._late:
            await self.arrive()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _fate(self) -> str:
        if self.cut:
            return "cut"
        return self.rng.choices(list(FATES), list(FATES.values()))[0] if self.bad else "passes"

    async def _send(self, method: str, url: URL, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False)
        try:
            async with self._session.request(method, url, data=body or None, headers=headers) as answer:
                return answer.status, await answer.read()
        except aiohttp.ClientError as error:
            raise CallwardenError("sync.unreachable", str(error), retryable=True) from error
