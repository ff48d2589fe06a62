"""Central on the same host: set up, and this edge registered with it directly."""

from __future__ import annotations

from callwarden.setup.plan import Plan
from central import setup
from formats.keys import VerifyKey
from formats.keyset import KeySet


def set_up(plan: Plan, edge: VerifyKey, dpo: VerifyKey) -> tuple[KeySet, bytes, setup.InitResult]:
    """(what the edge pins, CA certificate PEM or b"" without TLS, what was made). Raises CentralError."""
    result = setup.init(
        plan.central_folder,
        plan.central_listen,
        fleet=plan.fleet,
        use_tls=not plan.central_plain_http,
        data=plan.central_data,
        allow_copy_on_write="cow-filesystem" in plan.waive,
    )
    setup.register_key(result.config, "dpo", "dpo", dpo)
    setup.register_edge(result.config, plan.edge_id, edge)
    ca = result.config.ca.read_bytes() if result.config.tls else b""
    return setup.trust(result.config, plan.edge_id), ca, result
