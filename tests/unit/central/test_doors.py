"""A door says who may pass, and that is all that decides it."""

from __future__ import annotations

import pytest
from aiohttp import web

from central.app import all_doors
from central.doors import door
from central.roles import ADMIN, ROLES


async def _nobody(request: web.Request) -> web.Response:
    raise AssertionError("the guard let somebody in")


@pytest.mark.parametrize("who", ["", "anyone edge", "edge dpo", "king"])
def test_a_door_without_a_clear_word_about_who_may_pass_is_refused(who: str) -> None:
    with pytest.raises(ValueError, match="who may pass"):
        door("GET", "/v1/x", _nobody, who, "nothing")


def test_admin_passes_every_door_of_roles_and_no_other() -> None:
    for one in all_doors():
        assert (ADMIN in one.roles) == bool(one.roles)
        assert one.roles <= set(ROLES)


def test_no_door_is_declared_twice() -> None:
    names = [(one.method, one.path) for one in all_doors()]
    assert len(names) == len(set(names))
