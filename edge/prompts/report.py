"""What central is told of a policy: all that is in effect, and every word that a call under it can hear. Pure.

The shape is `formats.register.report.PolicyReport`; docs/spec/sync.md lists it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from edge.config import EdgeConfig
from edge.consent.epochs import named_by
from edge.consent.policy import Policy
from edge.consent.retention import Limits
from edge.errors import CallwardenError
from edge.prompts.needs import needs


def reports(config: EdgeConfig, resolve: Callable[[str, str], Any]) -> dict[str, dict[str, Any]]:
    """Policy name to its report. resolve: (prompt id, language) to something with `version`, `sha256` and `text`; raises
    CallwardenError for a prompt that is not there, which is then left out."""
    return {name: report(config, policy, resolve) for name, policy in sorted(config.policies.items())}


def report(config: EdgeConfig, policy: Policy, resolve: Callable[[str, str], Any]) -> dict[str, Any]:
    """One policy: `policy`, `version`, `document` (with every default), `prompts`, and of `house` what bears on it."""
    return {
        "policy": policy.name,
        "version": policy.version,
        "document": msgspec.json.decode(policy.document),
        "prompts": _prompts(policy, resolve),
        "house": _house(config, policy),
    }


def _prompts(policy: Policy, resolve: Callable[[str, str], Any]) -> list[dict[str, str]]:
    found = []
    for prompt_id, language in sorted({(need.prompt_id, need.language) for need in needs(policy)}):
        try:
            prompt = resolve(prompt_id, language)
        except CallwardenError:
            continue  # the check of the prompts says so, louder
        one = {"id": prompt_id, "language": language, "version": prompt.version, "sha256": prompt.sha256}
        found.append({**one, "text": prompt.text})
    return found


def _house(config: EdgeConfig, policy: Policy) -> dict[str, Any]:
    named = sorted(named_by(policy))
    names: Mapping[str, str] = config.keys.names
    house: dict[str, Any] = {
        "floor": _limits(config.retention.floor),
        "ceiling": _limits(config.retention.ceiling),
        "keys": {key: names[key] for key in named if key in names},
        "recovery": [key for key in named if key in config.keys.recovery],
        "local": config.keys.local in named,
        "waived": sorted(config.edge.waive),
        "country": config.telephony.country,
        "exports": str(config.retention.exports),
        "orders": str(config.retention.orders),
        "central": bool(config.central.url),
    }
    if policy.text_notice and config.notices.url:
        house["gateway"] = urlsplit(config.notices.url).hostname or ""
    return house


def _limits(limits: Limits) -> dict[str, str]:
    return {name: str(value) for name in limits.__struct_fields__ if (value := getattr(limits, name)) is not None}
