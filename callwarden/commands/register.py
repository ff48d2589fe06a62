"""`callwarden register`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.options import config_path, edge_config, register_document


@click.command()
@click.argument(
    "kind", type=click.Choice(["register", "dpia", "balancing", "notices", "recipients"]), default="register"
)
@edge_config
@register_document
@click.option(
    "--answers",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The register.toml with what people state; without it the document says what is missing.",
)
@click.option("--from-files", is_flag=True, help="Of the policies in the files, before a reload puts them into effect.")
def register(kind: str, policy: str, lang: str | None, form: str, answers: Path | None, from_files: bool) -> None:
    """Print the register of processing and its neighbours, made from the policies this edge runs.

    KIND: register (GDPR Art. 30; the default), dpia (Art. 35(7)), balancing (Art. 6(1)(f)), notices (Art. 13) or recipients.
    For many edges: callwarden central register.
    """
    from callwarden.registering import local, read_answers, running, show

    stated = read_answers(answers)
    found = running(config_path(), from_files=from_files)
    show(local(kind, found, stated, policy=policy, lang=lang or ""), form)
