"""Enrolment at a central on another host."""

from __future__ import annotations

import asyncio

from callwarden.setup.plan import Plan
from edge.sync.enrol import enrol as ask
from formats.keys import SigningKey
from formats.keyset import KeySet


def enrol(plan: Plan, key: SigningKey) -> tuple[KeySet, bytes]:
    """(what the edge pins, CA certificate PEM or b"" without TLS). Raises CallwardenError sync.*, auth.*."""
    answer = asyncio.run(ask(plan.central_url, plan.enrol_token, plan.edge_id, key))
    return answer.keyset, answer.ca_pem or b""
