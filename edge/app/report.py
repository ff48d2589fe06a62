"""What is told of the daemon: to `callwarden status`, to central by the heartbeat, and to a call that wants to be recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edge import host
from edge.consent.epochs import named_by
from edge.errors import CallwardenError
from edge.model.software import SOFTWARE
from edge.sync.heart import Vitals, policy_hash

if TYPE_CHECKING:
    from edge.app.parts import Parts


def not_ready(parts: Parts) -> CallwardenError | None:
    """Why nothing may be recorded now."""
    if not parts.ami.up:
        return CallwardenError("ami.down", "no AMI link: a recording could not be stopped")
    if not parts.journal.writable:
        return CallwardenError("journal.unwritable", "the journal cannot be written")
    return parts.recorder.not_ready()


def readiness(parts: Parts) -> Mapping[str, Any]:
    """What only the running daemon knows."""
    why = not_ready(parts)
    return {
        "ready": why is None and parts.agi.guards > 0,
        "reason": (why.message if why else "") or ("" if parts.agi.guards else "no guard is connected"),
        "ami_up": parts.ami.up,
        "guards": parts.agi.guards,
        "journal_writable": parts.journal.writable,
        "calls": parts.tracker.open,
        "captures": parts.recorder.live,
        "standing": [*(alarm.message for alarm in parts.policies.standing()), *parts.executor.notes()],
        "restored": (shut.message if (shut := parts.gate.refusal()) else ""),
        "local_playback": [p.name for p in parts.config.policies.values() if parts.config.keys.local in named_by(p)],
        "oldest_unsealed_s": round(parts.recorder.oldest_unsealed_s(), 3),
        **(parts.sync.status() if parts.sync else {"central_up": False, "errors": {}}),
        "adopt": parts.standing.status(),
        "pid": os.getpid(),
    }


def vitals(parts: Parts) -> Vitals:
    """What the heartbeat says beside what is in the journal."""
    why, edge = not_ready(parts), parts.config.edge
    return Vitals(
        policy=policy_hash({name: policy.version for name, policy in parts.config.policies.items()}),
        unsealed=parts.recorder.oldest_unsealed_s(),
        version=SOFTWARE,
        free=host.free_bytes(edge.vault),
        spool=host.free_bytes(edge.spool),
        live=parts.recorder.live,
        ready=why is None and parts.agi.guards > 0,
        why=(why.message if why else "") or ("" if parts.agi.guards else "no guard is connected"),
    )
