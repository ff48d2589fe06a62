"""`callwarden policy list|show|try`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from callwarden.options import as_json, config_path, edge_config

if TYPE_CHECKING:
    from callwarden.dryrun import Facts
    from edge.config import EdgeConfig


@click.group()
def policy() -> None:
    """List policies, show one, try what one would do."""


@policy.command(name="list")
@edge_config
@as_json
def list_(json_: bool) -> None:
    """List the configured policies: whom each is for, how it asks, on which basis."""
    from datetime import UTC, datetime

    from callwarden.ordered import note_ordered
    from callwarden.output import note, print_json, print_table
    from edge.config import load
    from edge.consent.jurisdiction import standing_alarms

    config = load(config_path())
    alarms = standing_alarms(config.policies, config.jurisdictions, datetime.now(UTC).date())
    rows = [
        {
            "policy": p.name,
            "mode": p.mode,
            "basis": p.basis,
            "jurisdiction": p.jurisdiction,
            "match": ", ".join((*p.match.did, *p.match.queue, *p.match.context)),
            "version": p.version,
        }
        for p in config.policies.values()
    ]
    if json_:
        print_json({"policies": rows, "alarms": [{"code": a.code, "message": a.message} for a in alarms]})
        return
    print_table(
        ("policy", "mode", "basis", "jurisdiction", "match", "version"),
        ((*list(row.values())[:-1], str(row["version"])[:12]) for row in rows),
        empty="no policies",
    )
    for alarm in alarms:
        note(f"alarm: {alarm.message} [{alarm.code}]")
    note_ordered()


@policy.command()
@click.argument("name", metavar="NAME")
@edge_config
@as_json
def show(name: str, json_: bool) -> None:
    """Show a policy with every default written out, as its version counts it."""
    import json

    from callwarden.ordered import note_ordered
    from callwarden.output import print_json
    from edge.config import load

    config = load(config_path())
    found = _named(config, name)
    document = json.loads(found.document)
    if json_:
        print_json(
            {"policy": name, "version": found.version, "where": config.where("policy", name), "document": document}
        )
        return
    note_ordered({name})
    print(f"policy {name}, version {found.version}, at {config.where('policy', name)}")
    for key, value in _lines(document):
        print(f"  {key}: {value}")


def _lines(document: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for key, value in document.items():
        if isinstance(value, dict) and set(value) == {"ms"}:
            lines.append((prefix + key, f"{value['ms'] / 1000:g} s"))
        elif isinstance(value, dict) and value:
            lines += _lines(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            lines.append((prefix + key, ", ".join(str(v) for v in value) or "-"))
        elif isinstance(value, bool):
            lines.append((prefix + key, str(value).lower()))
        else:
            lines.append((prefix + key, "-" if value in ("", None, {}) else str(value)))
    return lines


@policy.command(name="try")
@click.option("--policy", "name", default="", help="The policy that the dialplan names.")
@click.option("--did", default="", help="The number that was dialled; also chooses the policy.")
@click.option("--queue", default="", help="The queue; chooses the policy.")
@click.option("--context", default="", help="The dialplan's context; chooses the policy.")
@click.option("--dialled", default="", help="What was dialled, where it is not the --did: an outside number, 112.")
@click.option("--number", default="", help="The other party's number; without it the number is withheld.")
@click.option("--outbound", is_flag=True, help="The other party is called by us, and asked before the two are joined.")
@click.option("--verified", is_flag=True, help="The dialplan vouches for the number (CALLWARDEN_VERIFIED).")
@click.option("--language", default="", help="The channel's language, for example cs.")
@click.option("--keys", help='Keys the caller presses, in order: "1"; "silence" for none. Default: every answer.')
@click.option("--hang-up", is_flag=True, help="The caller hangs up in the first prompt.")
@click.option("--started", is_flag=True, help="Mode manual: an agent starts the recording.")
@click.option(
    "--remembered",
    type=click.Choice(["given", "refused", "objected", "notified"]),
    help="What this number answered before.",
)
@click.option("--days", type=click.FloatRange(0, 10_000), default=1, show_default=True, help="How long ago that was.")
@click.option(
    "--country", default="", help="Country whose spellings of numbers are heard, instead of the configured one."
)
@click.option("--call", metavar="CALL", help="Take the facts of a stored call instead: id, first digits, or linked id.")
@edge_config
@as_json
def try_(name: str, country: str, call: str | None, keys: str | None, json_: bool, **made_up: Any) -> None:
    """Say what would happen to a call, and why. Nothing is changed, nothing is recorded.

    With made-up facts, or with those of a stored call (--call): then under the policy it had and under the one of now.
    """
    import msgspec

    from callwarden.dryrun import Facts, choose
    from callwarden.output import print_json
    from edge.config import load
    from edge.errors import CallwardenError

    config = load(config_path())
    if country:
        config = msgspec.structs.replace(config, telephony=msgspec.structs.replace(config.telephony, country=country))
    if call is not None:
        _try_call(config, call, json_)
        return
    if keys is not None and keys != "silence" and not set(keys) <= set("0123456789*#"):
        raise CallwardenError(
            "usage.keys", f"{keys!r} are no keys", hint='for example --keys 1, or "silence"', where="--keys"
        )
    made_up["remembered"] = made_up["remembered"] or ""
    facts = Facts(policy=name, keys="" if keys == "silence" else keys, **made_up)
    chosen, by = choose(config, facts)
    result = {"chosen_by": by, **_run(config, chosen, facts)}
    if json_:
        print_json(result)
    else:
        _print(result)


def _try_call(config: EdgeConfig, call: str, json_: bool) -> None:
    from callwarden.door import open_door
    from callwarden.dryrun import of_call
    from callwarden.output import note, plain, print_json
    from edge.consent.policy import from_document
    from edge.errors import CallwardenError

    with open_door(config_path()) as door:
        row = door.why(call)
    if row["call"] is None:
        hint = "callwarden why says what is known of it"
        raise CallwardenError("not_found.call", "no daemon was there for this call", hint=hint, where=call)
    facts = of_call(row)
    then: Any = None
    try:
        then = from_document(row["policy_document"])
    except ValueError as error:
        note(f"the policy of that call was written by another version of callwarden: {error}")
    now = config.policies.get(row["call"]["policy"])
    result: dict[str, Any] = {
        "call": row["call"]["call_id"],
        "was": {"outcome": row["call"]["outcome"], "policy_version": row["call"]["policy_version"]},
        "then": None if then is None else _run(config, then, facts),
        "now": None if now is None else _run(config, now, facts),
    }
    if json_:
        print_json(result)
        return
    print(f"call {plain(result['call'])} ended as {plain(result['was']['outcome'])}; the same facts again:")
    if then is not None:
        _print({"chosen_by": "as it was", **result["then"]})
    if now is None:
        print("there is no policy of that name any more: such a call would go on unrecorded")
    elif then is not None and now.version == then.version:
        print("the policy of now is the same")
    else:
        print("under the policy of now:")
        _print({"chosen_by": "of the same name", **result["now"]})


def _run(config: EdgeConfig, chosen: Any, facts: Facts) -> dict[str, Any]:
    from datetime import UTC, datetime

    from callwarden.dryrun import prompts, run

    return run(config, chosen, facts, prompts(config.edge.prompts), datetime.now(UTC))


def _print(result: dict[str, Any]) -> None:
    from callwarden.output import plain

    head = (
        f'policy "{result["policy"]}" ({result["chosen_by"]}), mode {result["mode"]}, version {result["version"][:12]}'
    )
    print(plain(head))
    print(f"  basis: {plain(result['basis'])}; {plain(result['law'])}")
    print(f"  memory: {plain(result['memory']['says'])}")
    print("  the caller hears:" + ("" if result["hears"] else " nothing"))
    for p in result["hears"]:
        print(plain(f"    {p['prompt']} ({p['language']} {p['version']}, {p['seconds']:g} s): {p['text']}"))
    print("  and then:")
    for row in result["answers"]:
        print(plain(f"    {row['answer']}: {row['outcome']}, {row['says']}"))
    for key, value in result["details"].items():
        print(plain(f"  {key}: {value}"))


def _named(config: EdgeConfig, name: str) -> Any:
    from edge.errors import CallwardenError

    if (found := config.policies.get(name)) is None:
        hint = f"configured: {', '.join(config.policies) or 'none'}"
        raise CallwardenError("not_found.policy", f'there is no policy "{name}"', hint=hint, where=str(config.path))
    return found
