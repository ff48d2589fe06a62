"""`callwarden withdraw`, `pause`, `resume`, `start`, `incident`: acts on a call that goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from callwarden.options import as_json, config_path, edge_config

#: As in `edge.api.actdesk`, which is not imported for a line of help; a test holds both to be the same.
ROLES = ("caller", "callee", "third", "agent", "supervisor", "dpo")


def _stated(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--as", "role", type=click.Choice(ROLES), default=default, show_default=True,
        help="In whose role: on an outside party's word, or in your own.",
    )  # fmt: skip


_reason = click.option("--reason", default="", help="A word or a case number for the audit log.")


def _act(act: str, call: str, role: str, reason: str, json_: bool, seconds: float = 0.0) -> None:
    from callwarden.door import open_door
    from callwarden.output import plain, print_json

    with open_door(config_path()) as door:
        done = door.act(act, call, role, reason, seconds)
    if json_:
        print_json(done)
    else:
        print(plain(done["says"]))


@click.command()
@click.argument("call", metavar="CALL")
@edge_config
@_stated("caller")
@_reason
@as_json
def withdraw(call: str, role: str, reason: str, json_: bool) -> None:
    """End the recording of a call because somebody on it does not want it any more.

    What that does depends on who asks and on the legal basis; the answer says it. Works up to an hour after the call.
    CALL is a call id, its first 6 digits or more, Asterisk's linked id, or a channel's uniqueid.
    """
    _act("withdraw", call, role, reason, json_)


@click.command()
@click.argument("call", metavar="CALL")
@edge_config
@_stated("supervisor")
@_reason
@as_json
def pause(call: str, role: str, reason: str, json_: bool) -> None:
    """Pause the recording of a call; nothing said meanwhile is kept.

    It goes on by `callwarden resume`, or by the policy's timer with an alarm. CALL as for `withdraw`.
    """
    _act("pause", call, role, reason, json_)


@click.command()
@click.argument("call", metavar="CALL")
@edge_config
@_stated("supervisor")
@_reason
@as_json
def resume(call: str, role: str, reason: str, json_: bool) -> None:
    """Let a paused recording go on, unless another reason holds it.

    CALL as for `withdraw`.
    """
    _act("resume", call, role, reason, json_)


@click.command()
@click.argument("call", metavar="CALL")
@edge_config
@_stated("agent")
@_reason
@as_json
def start(call: str, role: str, reason: str, json_: bool) -> None:
    """Ask the caller of a `manual` call now, and record if they agree.

    CALL as for `withdraw`.
    """
    _act("start", call, role, reason, json_)


@click.command()
@click.argument("call", metavar="CALL")
@click.option("--seconds", type=click.FloatRange(0, 86400, min_open=True), required=True, help="How far back it began.")
@edge_config
@_stated("supervisor")
@_reason
@as_json
def incident(call: str, seconds: float, role: str, reason: str, json_: bool) -> None:
    """Destroy what was recorded in the last seconds of a call, and let it go on.

    The segments that were open in that span lose their keys at once; nothing brings them back. CALL as for `withdraw`.
    """
    _act("incident", call, role, reason, json_, seconds)
