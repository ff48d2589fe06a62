"""`callwarden central case package CASE` and `callwarden access-package`: a person's copy of what is kept about their calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.options import as_json, config_path, edge_config, passphrase_file

if TYPE_CHECKING:
    from callwarden.accesspackage.package import Made
    from callwarden.accesspackage.sources import EdgeSource
    from callwarden.centralclient import CentralClient
    from callwarden.door import Door
    from formats.age import Identity
    from formats.keyset import KeySet

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)


def _how(command: F) -> F:
    """The options that both commands have."""
    for option in reversed(
        (
            click.option("-o", "--output", type=_FILE, required=True, help="The age file to make (0600)."),
            click.option("-i", "--identity", type=_FILE, required=True, help="The age identity file that opens the recordings."),
            passphrase_file,
            click.option("--language", type=click.Choice(["en", "cs", "de"]), default="en", show_default=True, help="Of the words."),
            click.option("--controller", default="", help="Who answers: name and address, for the cover page."),
            click.option(
                "--format", "form", type=click.Choice(["wav", "flac", "opus"]), default="wav", show_default=True,
                help="Of the audio. FLAC and Opus need the extra `studio`.",
            ),
            click.option("--mask-agent", is_flag=True, help="Silence the other party's channel."),
            click.option("--name-readers", is_flag=True, help="Name the users who listened, and not only when and what for."),
            click.option("--passphrase-to", type=_FILE, help="A file to make (0600) for the passphrase, instead of showing it."),
            click.option("--trust", type=_FILE, help="The key set to believe (default: the edge's trust file)."),
            edge_config,
            as_json,
        )
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@central_config
@click.argument("ref", metavar="CASE")
@click.option("--to", required=True, help="Where it goes: by post to the person, handed over, …")
@click.option(
    "--from-central",
    is_flag=True,
    help="Calls of other edges, or of edges that are gone: their audio from central's media. Needs an administrator's token.",
)
@_how
def package(central_config: Path | None, ref: str, to: str, from_central: bool, **how: Any) -> None:
    """Make a person's access package of the recordings that this host's edge has, as one age file under a passphrase.

    What the review included and another edge has is listed on its cover page: make one there, too, or take its audio
    --from-central, which also works where no edge is (no configuration file). A payload that this edge has lost comes from central's
    media by itself. The passphrase is shown once; send it on another way than the file. The copy is on file at the edge and in
    the case before the file has its name.
    """
    from callwarden.commands.case_work import numbers_of
    from edge.errors import CallwardenError

    client = from_surroundings(central_config)
    case = client.get(f"/v1/cases/{ref}")
    if case["kind"] not in ("access", "portability"):
        raise CallwardenError("usage.case", f"a request for {case['kind']} is not answered by a package", where=ref)
    if case["state"] not in ("reviewed", "executed"):
        hint = f"callwarden central case show {ref} says what comes next"
        raise CallwardenError(
            "case.state", f"nothing may be given out for a case that is {case['state']}", hint=hint, where=ref
        )
    calls = [(m["edge_id"], m["call_id"]) for m in case["matches"] if m["included"]]

    def noted(made: Made) -> None:
        client.post(
            f"/v1/cases/{ref}/packages",
            {
                "sha256": made.sha256, "size": made.size, "calls": made.calls, "recordings": made.recordings,
                "missing": len(made.missing), "to": to,
            },
        )  # fmt: skip

    numbers = numbers_of(client, ref, "package")
    _make(ref, case["received_at"], calls, numbers, noted, how, client, from_central=from_central)


@click.command(name="access-package")
@click.option("--case", "ref", required=True, help="The case's name; certificates will name the copy by it.")
@click.option("--received", default="", help="When the request came, for the cover page.")
@click.option("--number", help="The person's number, in any spelling: what this edge has of it is looked for.")
@click.option("--country", default="", help='Where a national spelling is at home: "CZ".')
@click.option(
    "--call", "calls", multiple=True, metavar="CALL", help="A call by its whole id, instead of a search; repeat."
)
@click.option("--exclude", multiple=True, metavar="CALL", help="A call that was found and is not the person's; repeat.")
@_how
def access_package(
    ref: str,
    received: str,
    number: str | None,
    country: str,
    calls: tuple[str, ...],
    exclude: tuple[str, ...],
    **how: Any,
) -> None:
    """Make a person's access package at an edge, where there is no central or it cannot be reached.

    The copy is on file at this edge; write it into the case by hand. A search needs the running daemon and is audited.
    """
    from callwarden.commands.central_many import _e164
    from callwarden.door import open_door
    from edge.errors import CallwardenError

    if bool(number) == bool(calls):
        raise CallwardenError("usage.target", "name --number, or each --call", where="access-package")
    numbers = [_e164(number, country)] if number else []
    with open_door(config_path()) as door:
        edge_id = str(door.status()["edge_id"])
        if numbers:
            found = door.erasure("locate", {"number": numbers[0], "as_of": _now()})
            if found["more"]:
                raise CallwardenError("usage.target", "more calls were found than are listed", hint="name each --call")
            calls = tuple(m["call_id"] for m in found["matches"])
    wanted = [(edge_id, one) for one in calls if one not in exclude]
    _make(ref, received, wanted, numbers, lambda made: None, how)


def _now() -> str:
    from datetime import UTC, datetime

    from formats.ids import format_time

    return format_time(datetime.now(UTC))


def _make(
    ref: str, received: str, calls: Sequence[tuple[str, str]], numbers: Sequence[str], noted: Callable[[Made], None],
    how: dict[str, Any], client: CentralClient | None = None, *, from_central: bool = False,
) -> None:  # fmt: skip
    import os
    from contextlib import ExitStack

    from callwarden import keyfiles
    from callwarden.accesspackage.archive import new_passphrase
    from callwarden.accesspackage.package import Asked, Package
    from callwarden.accesspackage.sources import CentralSource
    from callwarden.door import open_door
    from callwarden.output import note, plain
    from callwarden.reading.files import new_file

    os.umask(0o077)
    identities = keyfiles.read_identities(how["identity"])
    given = keyfiles.read_trust(how["trust"]) if how["trust"] else None
    asked = Asked(
        ref=ref, calls=calls, numbers=numbers, received=received, made=_now(), language=how["language"],
        controller=how["controller"], form=how["form"], mask=how["mask_agent"], named=how["name_readers"],
    )  # fmt: skip
    passphrase = new_passphrase()
    with ExitStack() as stack:
        door, sources, central = None, [], None
        if not from_central or _an_edge_is_here():
            door = stack.enter_context(open_door(config_path()))
            sources = [_edge_source(door, given, identities, ref, client)]
        else:
            note(f"no edge is here (there is no {plain(config_path())}): what can be had comes from central")
        if from_central and client is not None:
            central = CentralSource(client, given or client.key_set(), identities, ref)
        collected = Package(door, sources, asked, central)
        if how["passphrase_to"] is not None:
            with new_file(how["passphrase_to"]) as file:
                file.write(f"{passphrase}\n".encode())
        try:
            made = collected.write(how["output"], passphrase, noted)
        except BaseException:
            if how["passphrase_to"] is not None:
                how["passphrase_to"].unlink(missing_ok=True)
            raise
    _tell(made, how, passphrase)


def _an_edge_is_here() -> bool:
    try:
        return config_path().exists()
    except OSError:  # reading it says what is wrong
        return True


def _edge_source(
    door: Door, trust: KeySet | None, identities: Sequence[Identity], ref: str, client: CentralClient | None
) -> EdgeSource:
    """The edge on this host, and, where a central is at hand, its media behind it."""
    from callwarden import keyfiles
    from callwarden.accesspackage.sources import ACCESS, REASON, EdgeSource
    from callwarden.centraldoor import CentralPayloads, EdgeThenCentral
    from callwarden.door import Reading
    from edge.config import load

    keys = trust or keyfiles.read_trust(load(config_path()).edge.trust_file)
    if client is not None:
        behind = CentralPayloads(lambda: client, REASON, ACCESS, ref)
        door = cast("Door", EdgeThenCentral(door, behind))
    return EdgeSource(door, keys, identities, Reading(case=ref, form="package"))


def _tell(made: Made, how: dict[str, Any], passphrase: str) -> None:
    from callwarden.output import note, plain, print_json

    if how["json_"]:
        print_json(
            {
                "file": str(how["output"]), "sha256": made.sha256, "size": made.size, "calls": made.calls, "recordings": made.recordings,
                "missing": [{"what": m.what, "why": m.code, "where": m.detail} for m in made.missing], "entries": made.names,
            }
        )  # fmt: skip
    else:
        print(how["output"])
    for one in made.missing:
        note(f"not in it: {plain(one.what)} ({plain(one.code)}{' ' + plain(one.detail) if one.detail else ''})")
    note(
        f"{made.calls} call(s), {len(made.recordings)} recording(s); open it with: age -d {plain(how['output'])} > package.zip"
    )
    if how["passphrase_to"] is None:
        note(f"passphrase, shown this once: {passphrase}")
