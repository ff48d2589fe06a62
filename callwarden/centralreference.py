"""docs/central-configuration.md, made from the docstrings beside the settings. `python -m callwarden.centralreference` prints it.

Here, because it needs central's settings and the edge's printer of tables, which never meet below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from central.cases.settings import CaseSettings
from central.fleet.settings import EdgeAlarms
from central.hooks.settings import Mail, Webhook
from central.media.settings import MediaConfig
from central.written import CentralTable
from edge.config.reference import section

#: Title, where its docstrings are, and what TOML calls otherwise.
TABLES: Final[tuple[tuple[str, type, Mapping[str, str]], ...]] = (
    ("[central]", CentralTable, {}),
    ("[central.edges]", EdgeAlarms, {}),
    ("[central.media]", MediaConfig, {}),
    ("[central.cases]", CaseSettings, {}),
    ("[central.webhooks.NAME]", Webhook, {"name": ""}),
    ("[central.mail]", Mail, {"sender": "from"}),
)

_INTRODUCTION = """\
# Configuration of central

One file, `central.toml`, by default `/etc/callwarden/central/central.toml`; `callwarden central init` writes it. All processes of
one central have the same. It is read when central starts: restart it after a change. (The edge's: [configuration.md](configuration.md).)

Relative names of files are relative to `data` unless it is said otherwise. Secrets are never written here: they lie in files of
mode 0600 that are named here, or `credential:NAME` takes the file NAME that systemd brings
([ops/credentials.md](ops/credentials.md)), and a private key that is written here is refused. A setting that is not listed here is
an error, and so is a value that cannot be: central does not start, and says file, line, key and what to do (exit code 3). A number
with its unit in its name (`_s` seconds, `_days` days) is written as a plain number. `callwarden central check` looks at everything
that the file names, and changes nothing.

More about: [PostgreSQL](ops/central-on-postgresql.md), [edges and their certificates](ops/edges.md), [sealed audio](ops/media.md),
[cases](cases.md), [webhooks and mail](webhooks.md), [register of processing](register.md). Tokens, roles, people's keys and incidents
have no settings here: they are rows, made with `callwarden central …`. Purposes and what central may know of a number are
settings of the edges' policies.

This page is made from the source (`python -m callwarden.centralreference > docs/central-configuration.md`) and a test holds it
there.
"""


def render() -> str:
    """The page as Markdown."""
    return "\n".join([_INTRODUCTION, *("\n".join([*section(*table), ""]) for table in TABLES)])


if __name__ == "__main__":
    print(render(), end="")
