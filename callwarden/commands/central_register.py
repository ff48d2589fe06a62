"""`callwarden central register|dpia|balancing|notices|recipients`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.options import register_document

_UNTIL = click.option("--until", metavar="DAY", help="As things stood at the begin of this day (UTC), or at a time.")


@click.command()
@central_config
@register_document
@click.option("--since", metavar="DAY", help="What changed from then on, instead of the register.")
@_UNTIL
def register(
    central_config: Path | None, policy: str, lang: str | None, form: str, since: str | None, until: str | None
) -> None:
    """Print the register of processing, made from the policies that edges run (GDPR Art. 30)."""
    _show(central_config, "changes" if since else "register", policy, lang, form, since=since, until=until)


@click.command()
@central_config
@register_document
@_UNTIL
def dpia(central_config: Path | None, policy: str, lang: str | None, form: str, until: str | None) -> None:
    """Print the annex to the data protection impact assessment, per policy (GDPR Art. 35(7))."""
    _show(central_config, "dpia", policy, lang, form, until=until)


@click.command()
@central_config
@register_document
@_UNTIL
def balancing(central_config: Path | None, policy: str, lang: str | None, form: str, until: str | None) -> None:
    """Print the balancing-test sheet of each policy on legitimate interests (GDPR Art. 6(1)(f))."""
    _show(central_config, "balancing", policy, lang, form, until=until)


@click.command()
@central_config
@register_document
@_UNTIL
def notices(central_config: Path | None, policy: str, lang: str | None, form: str, until: str | None) -> None:
    """Print what people hear and read, per policy and language (GDPR Art. 13)."""
    _show(central_config, "notices", policy, lang, form, until=until)


@click.command()
@central_config
@register_document
@_UNTIL
def recipients(central_config: Path | None, policy: str, lang: str | None, form: str, until: str | None) -> None:
    """Print who gets recordings or their data, per policy."""
    _show(central_config, "recipients", policy, lang, form, until=until)


def _show(
    central_config: Path | None,
    kind: str,
    policy: str,
    lang: str | None,
    form: str,
    *,
    since: str | None = None,
    until: str | None = None,
) -> None:
    """Central makes the document, and its form is made here: both by the same pure code."""
    import msgspec

    from callwarden.registering import moment, show
    from edge.errors import CallwardenError
    from formats.register import Document

    asked = {"policy": policy, "lang": lang or "", "since": moment(since), "until": moment(until)}
    query = {name: value for name, value in asked.items() if value}
    answer = from_surroundings(central_config).get(f"/v1/register/{kind}", **query)
    try:
        document = msgspec.convert(answer, Document)
    except msgspec.ValidationError as error:
        raise CallwardenError("sync.answer", f"central's answer is no document of the register: {error}") from error
    show(document, form)
