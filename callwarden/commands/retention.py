"""`callwarden retention`: what goes when and why, approvals, a look now, the clock."""

from __future__ import annotations

from typing import Any

import click

from callwarden.options import as_json, config_path, edge_config


@click.group()
def retention() -> None:
    """What is kept for how long: the plan, approvals, the clock.

    docs/retention.md has the rule, the classes of data and the defaults.
    """


@retention.command()
@click.option("--policy", default="", metavar="NAME", help="Only what began under this policy.")
@click.option("--at", default="", metavar="DATE", help="Until when, a day or RFC 3339 time; without it in 30 days.")
@edge_config
@as_json
def plan(policy: str, at: str, json_: bool) -> None:
    """Show what will be gone by a day and why, what is kept all the same, and what waits for an approval.

    Changes nothing; works with the daemon running or stopped.
    """
    from callwarden.door import open_door
    from callwarden.output import plain, print_json, print_table

    with open_door(config_path()) as door:
        found = door.retention_plan(policy, at)
    if json_:
        print_json(found)
        return
    if found["clock"]:
        print(f"{plain(found['clock'])}: nothing goes until that is explained (callwarden retention clock-ok)")
    for one in found["policies"]:
        _say_waits(one)
    rows = [(i["class"], i["id"], i["policy"], i["due_at"], i["state"], _why(i)) for i in found["items"]]
    print_table(("class", "id", "policy", "due", "state", "why"), rows, empty=f"nothing is over by {found['at']}")
    if found["left_off"]:
        print(f"and {found['left_off']} more")
    totals = [
        (name, t["goes"], t["held"], t["waits"], t["later"], t["next"], t["bytes"] or None)
        for name, t in found["totals"].items()
    ]
    print_table(("class", "goes", "held", "waits", "later", "next", "bytes"), totals, empty="nothing is kept")


def _say_waits(one: dict[str, Any]) -> None:
    from callwarden.output import plain

    if not one["waits"]:
        return
    what = f"policy {plain(one['policy'])}" if one["policy"] else "what belongs to no policy"
    state = "shorter terms wait" if one["acts"] else "nothing goes until somebody approves its terms"
    how = (
        f"callwarden retention approve {plain(one['policy'])}"
        if one["policy"]
        else "callwarden retention approve --edge"
    )
    print(f"{what}: {state}: {how}")
    for setting in one["waits"]:
        print(f"  {plain(setting)}")


def _why(item: dict[str, Any]) -> str:
    return "; ".join([item["why"], *item["held"]])


@retention.command()
@click.argument("policies", nargs=-1, metavar="[POLICY]...")
@click.option("--edge", is_flag=True, help="What belongs to no policy: orders, alarms, exports.")
@click.option("--all", "everything", is_flag=True, help="Every policy, and what belongs to none.")
@edge_config
@as_json
def approve(policies: tuple[str, ...], edge: bool, everything: bool, json_: bool) -> None:
    """Let the retention of policies count as it is configured now.

    New terms, and terms that got shorter, destroy nothing until somebody has seen `callwarden retention plan` and says so.
    """
    from callwarden.door import open_door
    from callwarden.output import plain, print_json
    from edge.errors import CallwardenError

    if everything == bool(policies or edge):
        raise CallwardenError("usage.policy", "name policies, or --edge, or --all", where="POLICY")
    scopes = [] if everything else [*policies, *([""] if edge else [])]
    with open_door(config_path()) as door:
        done = door.retention_approve(scopes)
    if json_:
        print_json(done)
        return
    for scope, shorter in done["approved"].items():
        print(f"{plain(scope) if scope else 'what belongs to no policy'}: approved")
        for setting in shorter:
            print(f"  {plain(setting)}")


@retention.command()
@edge_config
@as_json
def run(json_: bool) -> None:
    """Have the daemon look now at what is over, instead of within ten minutes."""
    from callwarden.door import open_door

    with open_door(config_path()) as door:
        _said(door.retention_run(), json_)


@retention.command("clock-ok")
@edge_config
@as_json
def clock_ok(json_: bool) -> None:
    """Say that the clock is right although it jumped; look at it first.

    Everything whose time is over by that clock goes afterwards.
    """
    from callwarden.door import open_door

    with open_door(config_path()) as door:
        _said(door.retention_clock_ok(), json_)


def _said(done: dict[str, Any], json_: bool) -> None:
    from callwarden.output import plain, print_json

    if json_:
        print_json(done)
    else:
        print(plain(done["says"]))
