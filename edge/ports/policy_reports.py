"""What is told of the policies in effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class PolicyReportBook(Protocol):
    """The last report of each policy (`edge.prompts.report`), and the events that carry them to central."""

    async def report_policies(self, reports: Mapping[str, Mapping[str, Any]]) -> int:
        """Policy name to report. Outbox `policy.loaded` for each that is not what was reported last, with the time `at`,
        and for each that was reported and is no more (`version` null); the new reports in their place. One commit;
        returns how many events."""
        ...

    async def policy_reports(self) -> Mapping[str, Mapping[str, Any]]:
        """Policy name to its last report with `at`, also of those that are gone."""
        ...
