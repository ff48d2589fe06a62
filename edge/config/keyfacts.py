"""Who may open what is recorded, as the configuration in effect says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from edge.config.schema import EdgeConfig
from edge.consent.epochs import recipients_on


class ConfigKeys:
    """Implements `edge.api.deps.KeyFacts` over the configuration that `config` gives."""

    def __init__(self, config: Callable[[], EdgeConfig]) -> None:
        self._config = config

    def recipients_of(self, policy: str) -> tuple[str, ...] | None:
        """See `edge.api.deps.KeyFacts`."""
        found = self._config().policies.get(policy)
        # What is recorded under epochs belongs to its month: there is no one list of recipients to give it later.
        return None if found is None or found.mode == "never" or found.epochs else found.recipients

    def policies(self) -> Mapping[str, Any]:
        """See `edge.api.deps.KeyFacts`."""
        found = self._config().policies.values()
        today = datetime.now(UTC).date()
        return {
            one.name: {
                "recipients": list(recipients_on(one, today)), "epochs": one.epochs, "months": sorted(one.epoch_keys),
            }
            for one in found
            if one.mode != "never"
        }  # fmt: skip
