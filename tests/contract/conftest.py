"""A real Asterisk whose manager account is the one the project ships as a sample."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.asterisk import Asterisk, start_asterisk
from tests.asterisk.conftest import rig_folder  # noqa: F401 - the same folder for all real runs
from tests.contract.account import use_sample_account


@pytest.fixture(scope="session")
def manager(rig_folder) -> Iterator[Asterisk]:  # type: ignore[no-untyped-def]  # noqa: F811
    """Asterisk with the account of dialplan/manager.callwarden.conf.sample."""
    pbx = start_asterisk(rig_folder / "contract")
    use_sample_account(pbx)
    yield pbx
    pbx.stop()
