"""The composition root: builds every stage and adapter, joins them, and runs them until told to stop.

The only package that knows two stages or adapters: `parts` has what is built, `localdoor` what the local socket works with,
`report` what is told of all of it, `tasks` what runs in the background, `daemon` the order of life.
"""

from edge.app.daemon import Daemon, run

__all__ = ["Daemon", "run"]
