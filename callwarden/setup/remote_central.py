"""Enrolment at a central on another host, and the code that a person compares."""

from __future__ import annotations

import asyncio

from callwarden.setup.plan import Plan
from edge.sync.enrol import Enrolled
from edge.sync.enrol import enrol as ask
from formats.keys import SigningKey


def enrol(plan: Plan, key: SigningKey) -> Enrolled:
    """Raises CallwardenError sync.*, auth.*."""
    return asyncio.run(ask(plan.central_url, plan.enrol_token, plan.edge_id, key))


def compared(answer: Enrolled) -> str:
    """What the person who enrols is told about the code."""
    if answer.state == "waiting":
        return (
            f"enrolment code {answer.code}: central lets this edge in after"
            f" `callwarden central edge approve {answer.edge_id} --code {answer.code}`, told by you to who runs central"
        )
    return (
        f"enrolment code {answer.code}: `callwarden central edge show {answer.edge_id}` must print the same; where it does not,"
        " somebody sits in between: revoke the edge and enrol anew"
    )
