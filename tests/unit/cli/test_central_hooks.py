"""`callwarden central webhook …` and `incident …` against a real central and a real receiver."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from central.hooks import duty
from central.hooks.settings import Outgoing
from tests.unit.central.central_kit import TestCentral, TestEdge
from tests.unit.central.hooks_kit import Got, a_hook, a_receiver, a_secret
from tests.unit.cli.cli_makers import Ran, acommand


async def test_receivers_and_incidents_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duty, "LOOK_S", 0.05)
    gone = True

    async def answer(got: Got) -> web.StreamResponse:
        return web.Response(status=410 if gone else 204)

    async with a_receiver(tmp_path / "r", answer=answer) as receiver:
        central = TestCentral(tmp_path / "central")
        hook = a_hook(receiver, a_secret(tmp_path / "hook.secret"), "crm", "incident.*")
        central.config = replace(central.config, outgoing=Outgoing((hook,)))
        await central.start()

        async def run(*args: str, status: int = 0) -> Ran:
            ran = await acommand("central", *args, CENTRAL_URL=central.url, CENTRAL_TOKEN=central.token)
            assert ran.code == status, ran.err
            return ran

        try:
            edge = TestEdge(central)
            data = {"code": "edge.cloned", "message": "two of them", "where": "", "at": "now"}
            await edge.send(edge.event(1, "alarm.raised", "", data))
            await run("webhook", "test", "crm", status=4)
            assert json.loads((await run("webhook", "list", "--json")).out)[0]["state"] == "disabled"
            gone = False
            await run("webhook", "test", "crm")
            dead = json.loads((await run("webhook", "dead", "--hook", "crm", "--json")).out)
            assert "incident.opened" in [one["type"] for one in dead]
            assert json.loads((await run("webhook", "replay", "crm", "--json")).out) == {"replayed": len(dead)}
            await run("webhook", "test", "nobody", status=5)

            (line,) = json.loads((await run("incident", "list", "--state", "open", "--json")).out)
            number = line["incident_id"]
            assert (line["kind"], line["clock"]) == ("cloned_edge", "running")
            await run("incident", "close", number, "--text", "nothing", status=6)
            await run("incident", "acknowledge", number, "--text", "looking")
            await run("incident", "note", number, "--text", "a copied disk")
            said = ("--text", "nothing was readable", "--measures", "revoked")
            await run("incident", "assess", number, "--not-notifiable", *said)
            report = (await run("incident", "report", number)).out
            assert "not notifiable: nothing was readable" in report
            assert "revoked" in report
            await run("incident", "close", number, "--text", "done")
            shown = (await run("incident", "show", number)).out
            assert "state: closed" in shown
            assert "a copied disk" in shown
            made = (await run("incident", "open", "--kind", "other", "--text", "a letter came")).out.strip()
            await run("incident", "assess", made, "--notifiable", "--text", "it says so")
            await run("incident", "notified", made, "--text", "no. 7")
            assert len((await run("incident", "list")).out.splitlines()) == 3
        finally:
            await central.stop()
