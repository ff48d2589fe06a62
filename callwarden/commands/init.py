"""`callwarden init DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callwarden.options import as_json

if TYPE_CHECKING:
    from callwarden.setup.make import Made
    from callwarden.setup.plan import Plan

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--edge-id", help="Name of this edge (default: from the host's name).")
@click.option(
    "--asterisk-ami", "ami", default="127.0.0.1:5038", show_default=True, help="Asterisk's manager interface."
)
@click.option("--ami-user", default="callwarden", show_default=True)
@click.option("--agi-listen", default="127.0.0.1:4573", show_default=True, help="Where the guard listens.")
@click.option("--group", default="asterisk", show_default=True, help="Asterisk's group, by name or number.")
@click.option("--owner", default="", help="User the daemon runs as, by name or number (default: you).")
@click.option("--central-owner", default="", help="User central runs as (default: the same).")
@click.option(
    "--var-dir", "var", type=_PATH, help="Durable data (default: DIR/var; /var/lib/callwarden for /etc/callwarden)."
)
@click.option(
    "--run-dir", "run", type=_PATH, help="Sockets and memory folders (default: in /dev/shm; /run/callwarden)."
)
@click.option("--spool", type=_PATH, help="Capture spool, a tmpfs (default: RUN/spool).")
@click.option("--resume", type=_PATH, help="Keys of open segments, a tmpfs (default: RUN/resume).")
@click.option("--vault", type=_PATH, help="Sealed recordings (default: VAR/vault).")
@click.option("--socket", type=_PATH, help="The local door (default: RUN/edge.sock).")
@click.option("--agi-socket", type=_PATH, help="The daemon's AGI socket (default: RUN/agi.sock).")
@click.option("--prompts", type=_PATH, help="Folder of prompts (default: those shipped).")
@click.option("--prompt-cache", type=_PATH, help="Where Asterisk plays from (default: VAR/prompts).")
@click.option("--keys-dir", "keys", type=_PATH, help="Where people's secret keys are written (default: DIR/keys).")
@click.option(
    "--recipient", "recipients", multiple=True, help="Encrypt to this age key; repeat. Then no identity is made."
)
@click.option("--dpo-public", type=_FILE, help="The DPO's public key (JWK), made elsewhere. Then none is made here.")
@click.option("--did", "dids", multiple=True, help="Number the policy `support` is for; repeat.")
@click.option("--language", "languages", multiple=True, default=("en", "cs"), show_default=True)
@click.option("--waive", multiple=True, help="Start-up check to do without; repeat.")
@click.option(
    "--central-listen", default="127.0.0.1:8443", show_default=True, help="Where central listens on this host."
)
@click.option("--central-plain-http", is_flag=True, help="Central without TLS (loopback only).")
@click.option("--central-url", default="", help="Report to this central instead of making one here.")
@click.option("--enrol-token", default="", envvar="CALLWARDEN_ENROL_TOKEN", help="One-time token of that central.")
@click.option("--no-central", is_flag=True, help="No central: this edge works alone.")
@click.option("--fleet", default="fleet", show_default=True, help="Name of the fleet a central on this host is for.")
@click.option(
    "--single-host", is_flag=True, help="Everything stays here, the secret keys too (level 0): for trying out."
)
@as_json
def init(folder: Path, json_: bool, **given: Any) -> None:
    """Make keys, folders and a commented configuration.

    Nothing that exists is overwritten; run it again to make what is missing.
    """
    from callwarden.output import print_json
    from callwarden.setup.make import Maker, summary

    plan = _plan(folder.absolute(), given)
    done = Maker(plan).run()
    findings = _findings(done.paths["config"])
    if json_:
        print_json({**summary(plan, done), "findings": findings})
    else:
        _tell(plan, done, findings)


def _plan(folder: Path, given: dict[str, Any]) -> Plan:
    import socket

    from callwarden.setup.plan import Plan, check_edge_id, default_edge_id, default_run, default_var
    from callwarden.shipped import shipped
    from edge.config.recipients import check_recipients
    from edge.errors import CallwardenError

    if given["no_central"] and given["central_url"]:
        raise CallwardenError("usage.central", "--no-central and --central-url exclude each other")
    if wrong := check_recipients(given["recipients"]):
        raise CallwardenError(wrong.code, wrong.message, hint=wrong.hint, where=f"--recipient {wrong.number + 1}")

    def path(name: str, default: Path) -> Path:
        value = given.pop(name)
        return (value or default).absolute()

    edge_id = check_edge_id(given.pop("edge_id") or default_edge_id(socket.gethostname()))
    var, run = path("var", default_var(folder)), path("run", default_run(folder))
    alone = given.pop("no_central") or bool(given["central_url"])
    listen = given.pop("central_listen")
    return Plan(
        folder=folder,
        edge_id=edge_id,
        var=var,
        run=run,
        spool=path("spool", run / "spool"),
        resume=path("resume", run / "resume"),
        vault=path("vault", var / "vault"),
        state=var / "state",
        prompts=path("prompts", shipped("prompts")),
        prompt_cache=path("prompt_cache", var / "prompts"),
        socket=path("socket", run / "edge.sock"),
        agi_socket=path("agi_socket", run / "agi.sock"),
        keys=path("keys", folder / "keys"),
        central_listen="" if alone else listen,
        **given,
    )


def _findings(config: Path) -> list[dict[str, str]]:
    """What `config check` says of the result; an old configuration that was kept may be wrong, which is only told."""
    from edge.config import check, load
    from edge.errors import CallwardenError

    try:
        found = check(load(config))
    except CallwardenError as error:
        return [
            {
                "severity": "error",
                "code": error.code,
                "message": error.message,
                "hint": error.hint,
                "where": error.where,
            }
        ]
    keys = ("severity", "code", "message", "hint", "where")
    return [{key: str(getattr(f, key)) for key in keys} for f in found]


def _tell(plan: Plan, done: Made, findings: list[dict[str, str]]) -> None:
    for path in done.made:
        print(f"made  {path}")
    for path in done.kept:
        print(f"kept  {path} (was there, not touched)")
    for line in done.notes:
        print(f"note: {line}")
    for f in findings:
        print(f"{f['severity']}: {f['where']}: {f['message']} [{f['code']}]\n  hint: {f['hint']}")
    config = done.paths["config"]
    command = f"callwarden --config {config}"
    steps = [
        "give Asterisk the account: callwarden dialplan manager > /etc/asterisk/manager.d/callwarden.conf,"
        f" with the secret in {done.paths['ami_secret']}",
        "give it the dialplan: callwarden dialplan print > /etc/asterisk/callwarden.conf,"
        " and in extensions.conf: #include callwarden.conf",
        "give it the feature codes (withdraw, pause): callwarden dialplan features >> /etc/asterisk/features.conf",
        f"{command} config check",
        f"{command} guard   and   {command} run" + (" --with-central" if plan.central_listen else ""),
    ]
    if plan.agi_listen != "127.0.0.1:4573":
        steps.insert(2, f"tell the dialplan where the guard is, in [globals]: CALLWARDEN_AGI={plan.agi_listen}")
    if not plan.single_host and not (plan.recipients and plan.dpo_public):
        steps.insert(
            0,
            f"MOVE {plan.keys} to another device: while it lies here, whoever owns this host can read what it records"
            " and order it erased",
        )
    print("\nNext:")
    for number, step in enumerate(steps, 1):
        print(f"  {number}. {step}")
    if plan.single_host:
        print(
            "\nLevel 0: everything is on one host. Two keys or a witness on one host prove little; fine for trying out."
        )
