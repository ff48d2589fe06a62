"""`callwarden central token …`: on central's host, and from elsewhere by the API."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.unit.central.central_kit import a_central
from tests.unit.cli.cli_makers import Ran, command


async def test_tokens_are_made_listed_and_revoked_from_here_and_there(tmp_path: Path) -> None:
    async with a_central(tmp_path / "central") as central:

        async def run(*args: str, **env: str) -> Ran:
            return await asyncio.to_thread(command, "central", "token", *args, **env)

        here = {"CENTRAL_CONFIG": str(central.config.data / "central.toml")}
        there = {"CENTRAL_URL": central.url, "CENTRAL_TOKEN": central.token}
        made = await run("new", "--role", "admin", "--label", "the boss", **here)
        assert made.code == 0, made.err
        boss = made.out.strip()
        assert boss.startswith("cwt1.")
        by_api = await run("new", "--role", "ops", "--label", "night", "--expires", "7", "--json", **there)
        assert (by_api.code, by_api.json["role"]) == (0, "ops")
        listed = await run("list", "--json", **here)
        assert [one["label"] for one in listed.json] == ["init", "the boss", "night"]
        assert (await run("list", "--json", **{**there, "CENTRAL_TOKEN": boss})).json == listed.json
        assert boss not in listed.out + (await run("list", **there)).out
        assert (await central.admin("GET", "/v1/alarms", token=by_api.json["token"]))[0] == 200
        for where in (there, here):  # a repeat is no error
            gone = await run("revoke", by_api.json["id"], "--json", **where)
            assert gone.json["revoked_at"] is not None
        assert (await central.admin("GET", "/v1/alarms", token=by_api.json["token"]))[0] == 401
        unknown = await run("revoke", "0" * 16, **there)
        assert unknown.code != 0
        assert "not_found.token" in unknown.err
        refused = await run("list", **{**there, "CENTRAL_TOKEN": by_api.json["token"]})
        assert "auth.token_over" in refused.err
        assert (await run("new", "--role", "king", "--label", "x", **here)).code == 2
        odd = await run("revoke", "a/b?c", **there)
        assert "not_found" in odd.err
