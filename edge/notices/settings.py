"""Gateway and rules out of the configuration as it is now."""

from __future__ import annotations

from edge import host
from edge.config.schema import EdgeConfig
from edge.notices.rules import Rules
from edge.notices.sender import Settings
from edge.notices.webhook import read_keys


def settings_of(config: EdgeConfig) -> Settings | None:
    """None where no gateway is configured. The secret is read anew each time, so that a new key needs no restart.

    Raises CallwardenError config.notices, config.secret_mode, config.secret_missing.
    """
    notices, telephony = config.notices, config.telephony
    if not notices.url or notices.secret_file is None:
        return None
    rules = Rules(
        countries=notices.countries,
        country=telephony.country,
        per_hour=notices.per_hour,
        never=telephony.never_numbers,
        shared=telephony.shared_numbers,
        emergency=telephony.emergency,
    )
    return Settings(notices.url, read_keys(host.secret(notices.secret_file)), notices.link, rules)
