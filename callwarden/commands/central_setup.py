"""`callwarden central init|run|enrol-token|add-key`."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.options import as_json, central_toml


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--listen", default="127.0.0.1:8443", show_default=True, help="Address and port.")
@click.option("--fleet", default="fleet", show_default=True, help="Name that every order carries.")
@click.option("--name", "names", multiple=True, help="Further host name or address for the certificate; repeat.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Database and keys (default: DIR).")
@click.option("--plain-http", is_flag=True, help="No TLS; only on loopback.")
@click.option(
    "--allow-copy-on-write", is_flag=True, help="Keep the keeper on btrfs, zfs or overlay: erasing is weaker."
)
@as_json
def init(
    folder: Path,
    listen: str,
    fleet: str,
    names: tuple[str, ...],
    data: Path | None,
    plain_http: bool,
    allow_copy_on_write: bool,
    json_: bool,
) -> None:
    """Make central's keys, CA, token, database and configuration. Nothing that exists is overwritten."""
    from callwarden.output import print_json
    from central import setup

    done = setup.init(
        folder.absolute(),
        listen,
        fleet=fleet,
        names=names,
        use_tls=not plain_http,
        data=data.absolute() if data else None,
        allow_copy_on_write=allow_copy_on_write,
    )
    if json_:
        print_json(
            {
                "config": str(done.config_path),
                "url": done.config.url,
                "token": str(done.config.token),
                "ca": str(done.config.ca) if done.config.tls else None,
                "ca_fingerprint": done.ca_fingerprint,
                "made": [str(p) for p in done.made],
                "kept": [str(p) for p in done.kept],
            }
        )
        return
    for path in done.made:
        print(f"made  {path}")
    for path in done.kept:
        print(f"kept  {path} (was there, not touched)")
    print(f"\nNext: callwarden central run --central-config {done.config_path}")


@click.command()
@central_toml
@click.option("--listen", help="Address and port instead of the configured ones: one of several processes.")
@click.option("--log", "form", type=click.Choice(["json", "console"]), default="json", show_default=True)
def run(central_config: Path, listen: str | None, form: str) -> None:
    """Run central."""
    from central import app
    from edge import log

    log.set_up("json" if form == "json" else "console")
    app.run(central_config, listen)


@click.command()
@central_toml
@click.option("--log", "form", type=click.Choice(["json", "console"]), default="json", show_default=True)
def keeper(central_config: Path, form: str) -> None:
    """Run the keeper of recovery keys by itself, for several processes of central on one PostgreSQL."""
    from central import keeperrun
    from edge import log

    log.set_up("json" if form == "json" else "console")
    keeperrun.run(central_config)


@click.command(name="enrol-token")
@central_config
@click.option("--edge-id", help="Good for this edge only.")
@as_json
def enrol_token(central_config: Path | None, edge_id: str | None, json_: bool) -> None:
    """Make a one-time token with which an edge enrols. It is shown once and ends after an hour."""
    from callwarden.output import note, print_json

    if central_config is not None:
        from central import setup
        from central.config import load

        token, expires = setup.enrol_token(load(central_config), edge_id)
    else:
        answer = from_surroundings(None).post("/v1/enrolments", {"edge_id": edge_id} if edge_id else {})
        token, expires = answer["token"], answer["expires_at"]
    if json_:
        print_json({"token": token, "expires_at": expires})
        return
    print(token)
    note(f"good until {expires}, once: callwarden init DIR --central-url URL --enrol-token …")


@click.command(name="add-key")
@central_config
@click.option("--role", type=click.Choice(["dpo", "auditor"]), required=True)
@click.option(
    "--owner",
    required=True,
    help="Whose key it is, as certificates will name them; two keys of one owner are one person.",
)
@click.argument("jwk", type=click.File("rb"), metavar="FILE")
def add_key(central_config: Path | None, role: str, owner: str, jwk: BinaryIO) -> None:
    """Register the public key of a DPO or an auditor. FILE: the JWK that `callwarden key new --kind dpo` printed."""
    from formats import canonical

    client = from_surroundings(central_config)
    answer = client.post("/v1/keys", {"role": role, "owner": owner, "jwk": canonical.loads(jwk.read())})
    print(f"{answer['kid']} is {role} {owner}; edges that enrol from now on believe it")
