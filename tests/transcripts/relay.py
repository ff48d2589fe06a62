"""A loopback relay that keeps what the server side said, and can cut the line after a given number of its bytes."""

from __future__ import annotations

import asyncio


class Relay:
    """Passes connections to `host:target_port`. `said`: per connection, the bytes the server sent. `cut_after`: how many of them
    pass on each connection before both sides are dropped (None: all)."""

    def __init__(self, host: str, target_port: int, *, port: int = 0, cut_after: int | None = None) -> None:
        self.target = (host, target_port)
        self.cut_after = cut_after
        self.said: list[bytearray] = []
        self.heard: list[bytearray] = []
        self.port = port
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    def drop(self) -> None:
        """Cut every connection that passes now."""
        for writer in list(self._clients):
            writer.transport.abort()

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said, heard = bytearray(), bytearray()
        self._clients.add(writer)
        self.said.append(said)
        self.heard.append(heard)
        try:
            there_reader, there_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        up = asyncio.create_task(self._pump(reader, there_writer, heard, None))
        await self._pump(there_reader, writer, said, self.cut_after)
        if self.cut_after is not None:
            writer.transport.abort()
            there_writer.transport.abort()
        await up

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray, limit: int | None
    ) -> None:
        try:
            while data := await reader.read(65536):
                if limit is not None:
                    data = data[: limit - len(kept)]
                kept += data
                writer.write(data)
                await writer.drain()
                if limit is not None and len(kept) >= limit:
                    break
        except OSError:
            pass
        writer.close()
