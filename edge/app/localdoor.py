"""What the local socket's doors work with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.api.deps import ApiDeps
from edge.app.report import readiness
from edge.config.keyfacts import ConfigKeys
from edge.integrity.inspector import Inspector
from edge.integrity.inspector import Means as InspectorMeans
from edge.recorder.leftovers import CaptureLeftovers
from edge.retention.door import RetentionDoor
from edge.vault.temps import VaultTemps
from formats.jws import sign_general

if TYPE_CHECKING:
    from edge.app.parts import Parts


def deps_of(parts: Parts) -> ApiDeps:
    """What the local door works with."""
    return ApiDeps(
        edge_id=parts.config.edge.id,
        edge_jwk=parts.key.verify_key.jwk(),
        journal=parts.journal,
        reader=parts.journal.views,
        slots=parts.slots,
        vault=parts.vault,
        readiness=lambda: readiness(parts),
        live=parts.conductor,
        adopt=parts.adopter,
        retention=RetentionDoor(parts.executor.sight, parts.executor),
        reload=parts.policies.reload,
        trust=parts.trust,
        erasure=parts.executor.by_hand,
        keys=ConfigKeys(lambda: parts.config),
        attest=lambda typ, payload: sign_general(payload, [(parts.key, parts.key.kid)], typ),
        refusal=parts.gate.refusal,
        accepted=parts.executor.wake,
        inspector=Inspector(
            InspectorMeans(
                journal=parts.journal,
                vault=parts.vault,
                slots=parts.slots,
                leftovers=(CaptureLeftovers(parts.spool, parts.resume), VaultTemps(parts.vault.root)),
                clock=parts.clock,
                trust=parts.trust,
                running=True,
            )
        ),
    )
