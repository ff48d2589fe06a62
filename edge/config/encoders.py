"""Whether this host can encode what a policy wants encoded: asked when the policy is loaded, not when a call has ended."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from edge.consent.policy import Policy
from edge.consent.policy_rules import Problem

#: The package that encodes (`edge.recorder.encode`).
PACKAGE = "soundfile"


def encoder(policy: Policy) -> Iterator[Problem]:
    """What is missing for `compact`."""
    if policy.compact != "none" and importlib.util.find_spec(PACKAGE) is None:
        message = f'compact "{policy.compact}" needs the package {PACKAGE}, which is not installed'
        yield Problem("compact", "policy.compact", message, 'install callwarden[studio], or compact = "none"')
