"""What the doors of webhooks take and answer."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from central.openapi.words import Count, Id, Page, Time

State = Annotated[str, Meta(pattern="^(waiting|sent|dead)$")]


class TestBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing needs to be said."""


class ReplayBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`message_id`: only this one, sent or dead; every dead letter of the receiver where it is not said."""

    message_id: Id | None = None


class Replayed(Struct, frozen=True):
    """How many messages are in the queue again."""

    replayed: Count


class Tested(Struct, frozen=True):
    """The test's message; what came of it is read at `GET /v1/webhooks/messages/{message_id}`."""

    message_id: Id


class Receiver(Struct, frozen=True):
    """A receiver. `receiver`: where it is, without path. `state`: active, failing or disabled. `waiting`, `sent`, `dead`: messages."""

    name: str
    receiver: str
    events: list[str]
    state: Annotated[str, Meta(pattern="^(active|failing|disabled)$")]
    failing_since: Time | None
    paused_until: Time | None
    last_sent: Time | None
    waiting: Count
    sent: Count
    dead: Count


class ReceiverList(Struct, frozen=True):
    """Every receiver that is configured."""

    webhooks: list[Receiver]


class Message(Struct, frozen=True):
    """A message to a receiver. `why`: what the last attempt came to."""

    seq: Page
    message_id: Id
    hook: str
    type: str
    state: State
    made_at: Time
    due_at: Time
    attempts: Count
    why: str
    done_at: Time | None


class MessageList(Struct, frozen=True):
    """A page of messages, oldest first."""

    messages: list[Message]


class WholeMessage(Message, frozen=True):
    """With its body, as it is sent."""

    body: dict[str, Any]
