"""The configuration files that init writes, with the comments a newcomer needs. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from callwarden.setup.plan import Plan


def _q(value: object) -> str:
    """A TOML basic string (JSON's are the same for what we write)."""
    return json.dumps(str(value), ensure_ascii=False)


def _list(values: Sequence[str]) -> str:
    return "[" + ", ".join(_q(v) for v in values) + "]"


def edge_toml(plan: Plan, central_url: str, central_ca: bool) -> str:
    """edge.toml. central_ca: whether central-ca.pem lies beside it."""
    if central_url:
        pinned = f"ca_file = {_q(plan.folder / 'central-ca.pem')}   # the one authority believed for that address"
        ca = pinned if central_ca else ""
        central = f"[central]\nurl = {_q(central_url)}\n{ca}\n"
    else:
        central = "# [central] is absent: this edge works alone. `callwarden init --central-url` shows what to write.\n"
    return f"""# The edge of Callwarden. Check with: callwarden --config {plan.folder / "edge.toml"} config check
# Secrets are files of mode 0600 that are named here, never values. Every key: docs/configuration.md.

[edge]
id = {_q(plan.edge_id)}                   # name at central and in every manifest; never reuse one
spool = {_q(plan.spool)}          # Asterisk captures here: memory (tmpfs), never a disk
resume = {_q(plan.resume)}        # keys of open segments, so that a restart goes on: memory, the daemon's alone
vault = {_q(plan.vault)}          # sealed recordings: ciphertext only
journal = {_q(plan.journal)}      # every fact, SQLite
state = {_q(plan.state)}          # shred.keys, overwritten in place to erase: not on btrfs, zfs or overlay
socket = {_q(plan.socket)}        # the local door; its group may ask everything
prompts = {_q(plan.prompts)}
prompt_cache = {_q(plan.prompt_cache)}   # Asterisk plays from here, so it must be able to enter
signing_key_file = {_q(plan.folder / "edge.key")}
trust_file = {_q(plan.folder / "trust.json")}   # pinned public keys: who may order what
waive = {_list(plan.waive)}               # start-up checks done without, each said at every start

[asterisk]
ami = {_q(plan.ami)}              # manager interface; loopback only, it speaks in the clear
ami_user = {_q(plan.ami_user)}
ami_secret_file = {_q(plan.folder / "ami.secret")}
agi_listen = {_q(plan.agi_listen)}       # the guard's port, where the dialplan knocks
agi_socket = {_q(plan.agi_socket)}       # the daemon's own, behind the guard
agi_token_file = {_q(plan.folder / "agi.token")}
group = {_q(plan.group)}                 # Asterisk's group, name or number: spool files are 0660 for it

# How long things are kept is each policy's `retention`. New and shortened terms only count once somebody has looked:
# `callwarden retention plan` shows what would go, `callwarden retention approve --all` makes it so. docs/retention.md
# [retention]
# approve = "at_once"                   # instead: whoever writes the configuration approves it

# Numbers and lines. Write your own country: its emergency numbers are never asked, held or refused.
# [telephony]
# country = "CZ"
# trunks = ["PJSIP/trunk"]              # endpoints that lead outside: who speaks through one is an outside party
# never_numbers = ["+420555100900"]     # works council, lawyers, doctors: never recorded, whoever calls whom

{central}"""


def support_toml(plan: Plan, recipients: Sequence[tuple[str, str]]) -> str:
    """conf.d/support.toml: ask first, record only after the yes key. recipients: (public key, whose)."""
    lines = "\n".join(f"  {_q(key)},  # {whose}" for key, whose in recipients)
    example = '# match = { did = ["+420555100200"], queue = ["support"] }'
    match = f"match = {{ did = {_list(plan.dids)} }}" if plan.dids else example
    return f"""# Asked first, recorded only after the key. In the dialplan: Gosub(callwarden,s,1(support))
[policy.support]
mode = "opt_in"
{match}
basis = "consent"
basis_reference = "privacy notice"     # where the basis is written down; goes into every piece of evidence
purposes = ["quality", "evidence"]     # the prompt must say each
prompt = "ask"
languages = {_list(plan.languages)}
yes_key = "1"
answer_window = "5s"
retries = 1
on_silence = "refuse"                  # silence is never a yes
on_failure = "unrecorded"              # the phone still rings, the recording does not happen; "announce" and
                                       # "refuse_call" want the same word as the dialplan's second argument
on_withdraw = "stop_and_erase"         # a caller's *9, once the feature codes are in features.conf
erase_after = "1h"                     # after the end of the call
pause_limit = "10m"                    # a pause ends by itself, with an alarm
capture = {{ codec = "sln", rate = 8000, channels = 2, seal_every = "4s" }}
suite = "age1"                         # or "aes256gcm", for who must have AES-256: same keys, no .age files
# Public keys only: this host cannot read what it has recorded unless an identity lies on it.
recipients = [
{lines}
]
retention = {{ recordings = "P6M", minimum = "P0D", statistics = "P24M", evidence = "P36M", refusals = "P30D" }}
central = {{ number = "none", media = "stay" }}  # "hashed" or "clear": central can search by number
"""


def private_toml() -> str:
    """conf.d/private.toml: a line that is never recorded and never asked."""
    return """# A line that is never recorded and whose callers are not asked. In the dialplan: Gosub(callwarden,s,1(private))
[policy.private]
mode = "never"
"""
