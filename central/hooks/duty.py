"""Sends what is due: a task for each receiver, so that a slow or dead one delays nobody."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import structlog

from central.errors import CentralError
from central.hooks import mail, post, queue
from central.hooks.outbox import told
from central.hooks.settings import MAIL, Mail, Webhook
from central.hooks.signing import TIMEOUT_S, Answer, read_keys
from formats.credentials import too_open

if TYPE_CHECKING:
    from central.state import Central

_log = structlog.get_logger("central.hooks")

#: How often the queue is looked at, seconds.
LOOK_S: Final = 1.0
#: How often old rows are removed, seconds.
TIDY_S: Final = 600.0
#: Sent messages are kept so long, dead ones three times.
KEEP: Final = timedelta(days=30)
#: Attempts at one receiver at the same time.
TOGETHER: Final = 8
#: An attempt is begun only while the lease lasts at least so long, seconds.
_ENOUGH_S: Final = 1.5 * TIMEOUT_S


class Sender:
    """One process's sender. `resolving`: the resolver, and `lookup_s`: how long a mail server's name may take it, seconds; for tests."""

    def __init__(self, central: Central, resolving: post.Resolve = post.resolve, lookup_s: float = TIMEOUT_S) -> None:
        self._central = central
        self.resolving, self.lookup_s = resolving, lookup_s
        self._owner = secrets.token_hex(8)
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def look(self) -> None:
        """One look: begin with each receiver that has something due and is not being sent to by this process."""
        outgoing = self._central.config.outgoing
        for name in await self._central.db.run(partial(queue.due, outgoing.names(), self._central.now())):
            receiver = outgoing.mail if name == MAIL else outgoing.webhook(name)
            if receiver is not None and name not in self._busy:
                task = asyncio.create_task(self._work(name, receiver))
                self._busy[name] = task
                task.add_done_callback(partial(self._done, name))

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        self._busy.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, CentralError):
                _log.error("sending failed: this is a bug", hook=name, exc_info=error)
            else:  # the database is away; the leases run out
                _log.warning("what came of an attempt could not be noted", hook=name, why=str(error))

    async def idle(self) -> None:
        """Until everything that was begun is done."""
        while self._busy:
            await asyncio.gather(*self._busy.values(), return_exceptions=True)
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """Break off. What was posted and not noted is sent again when its lease is over."""
        for task in list(self._busy.values()):
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def tidy(self) -> None:
        """Old rows go; what nobody sends is a dead letter."""
        central = self._central
        await self._bury()
        while await central.db.run(lambda conn: told(conn, central.now(), KEEP, queue.MANY)) >= queue.MANY:
            pass

    async def _bury(self) -> None:
        central = self._central
        while await central.db.run(lambda conn: queue.bury(central, conn)) >= queue.MANY:
            pass

    # ------------------------------------------------------------ one receiver

    async def _work(self, name: str, receiver: Webhook | Mail) -> None:
        """Claims until nothing is due or the receiver fails."""
        central = self._central
        while True:
            lease = queue.LEASE if isinstance(receiver, Webhook) else queue.MAIL_LEASE
            end = time.monotonic() + lease.total_seconds()  # before the claim: the lease is a little longer
            most = queue.BATCH if isinstance(receiver, Webhook) else 1
            claimed = await central.db.run(partial(queue.claim, name, self._owner, central.wall(), lease, most))
            if not claimed:
                return
            batch = _Batch(self, claimed, end)
            try:
                if isinstance(receiver, Webhook):
                    await batch.webhook(receiver)
                else:
                    await batch.mail(receiver)
            finally:
                if batch.left:
                    await central.db.run(partial(queue.release, self._owner, [one.seq for one in batch.left]))
            if batch.failed:
                return

    async def finish(self, message: queue.Message, answer: Answer) -> None:
        """File what an attempt came to."""
        uniform = random.random()  # noqa: S311 - only spreads retries
        await self._central.db.run(
            lambda conn: queue.finish(self._central, conn, self._owner, message, answer, uniform)
        )
        if answer.what == "gone":
            await self._bury()


class _Batch:
    """What was claimed at once. left: not tried. failed: the receiver is not worth another attempt now."""

    def __init__(self, sender: Sender, claimed: list[queue.Message], end: float) -> None:
        self._sender = sender
        self._central = sender._central
        self._end = end
        self.left = list(claimed)
        self.failed = False

    def _next(self) -> queue.Message | None:
        if self.failed or not self.left or self._end - time.monotonic() < _ENOUGH_S:
            return None
        return self.left.pop(0)

    async def webhook(self, hook: Webhook) -> None:
        """Over one session. A receiver that cannot be reached at all is one failure of the oldest message."""
        try:
            keys = await asyncio.to_thread(_keys, hook)
            async with post.session(hook, self._sender.resolving) as made:
                several = [self._posts(made, hook, keys) for _ in range(min(TOGETHER, len(self.left)))]
                for one in await asyncio.gather(*several, return_exceptions=True):
                    if isinstance(one, BaseException):
                        raise one
        except post.RefusedError as why:
            await self._none(f"address_{why}")
        except OSError:  # a timeout is one
            await self._none("resolver")
        except CentralError as error:
            if not error.code.startswith("config."):
                raise
            _log.warning("a webhook cannot be signed", hook=hook.name, why=str(error))
            await self._none("secret")

    async def _posts(self, made: aiohttp.ClientSession, hook: Webhook, keys: Sequence[bytes]) -> None:
        try:
            while (message := self._next()) is not None:
                body = message.body.encode()
                await self._try(message, post.post(made, hook, keys, message.message_id, body, self._central.wall()))
        except BaseException:
            self.failed = True  # so that those beside this one stop too
            raise

    async def mail(self, settings: Mail) -> None:
        """In a thread."""
        try:
            password = await asyncio.to_thread(_password, settings)
        except CentralError as error:
            _log.warning("mail cannot be sent", why=str(error))
            await self._none("password")
            return
        try:
            async with asyncio.timeout(self._sender.lookup_s):
                found = await self._sender.resolving(settings.host, settings.port)
        except (OSError, ValueError):  # a timeout is one; a host that is no name is a ValueError
            await self._none("resolver")
            return
        while (message := self._next()) is not None:
            await self._try(message, asyncio.to_thread(self._letter, settings, password, found, message))

    def _letter(self, settings: Mail, password: str, addresses: Sequence[str], message: queue.Message) -> Answer:
        letter = mail.compose(
            settings, message.message_id, message.body, self._central.config.fleet, self._central.wall()
        )
        return mail.send(settings, password, letter, addresses)

    async def _try(self, message: queue.Message, attempt: Awaitable[Answer]) -> None:
        """A bug in an attempt is a failure like another, so that it is alarmed, and then it is raised."""
        try:
            answer = await attempt
        except Exception:
            await self._note(message, Answer("retry", "bug", whole=True))
            raise
        await self._note(message, answer)

    async def _none(self, why: str) -> None:
        if self.left:
            await self._note(self.left.pop(0), Answer("retry", why, whole=True))
        self.failed = True

    async def _note(self, message: queue.Message, answer: Answer) -> None:
        if answer.whole or answer.what == "gone":
            self.failed = True
        await self._sender.finish(message, answer)


def secret(path: Path) -> str:
    """A secret file's text, which only its owner may read. Raises CentralError config.secret."""
    try:
        if too_open(path, path.stat().st_mode, os.environ):
            raise CentralError(
                "config.secret", "others may read this secret", where=str(path), hint=f"chmod 600 {path}"
            )
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CentralError("config.secret", f"the file cannot be read: {error}", where=str(path)) from error


def _keys(hook: Webhook) -> tuple[bytes, ...]:
    return read_keys(secret(hook.secret), str(hook.secret))


def _password(settings: Mail) -> str:
    return "" if settings.password is None else secret(settings.password)
