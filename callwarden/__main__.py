"""Entry point of the command `callwarden`: the group, its global option, and the one place where errors are printed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from callwarden.failure import report
from callwarden.lazy import LazyGroup, ReaderLeft
from callwarden.options import DEFAULT_CONFIG, Invocation

_AT = "callwarden.commands."
_COMMANDS = {
    "access-package": (
        _AT + "case_package:access_package",
        "Make a person's access package at an edge, where there is no central or it cannot be reached.",
    ),
    "adopt": (_AT + "adopt:adopt", "Take over the recordings a PBX already has, and remove the files."),
    "audit": (_AT + "audit:audit", "Verify the audit log."),
    "backup": (
        _AT + "backup:backup",
        "Back this edge up, and check a backup. `callwarden backup FOLDER` is short for `backup make FOLDER`.",
    ),
    "calls": (_AT + "calls:calls", "List calls and what was answered."),
    "central": (_AT + "central:central", "The central store: set up, run, erase, look."),
    "config": (_AT + "config:config", "Check the configuration."),
    "dialplan": (
        _AT + "dialplan:dialplan",
        "Print what Asterisk needs: the dialplan to include, feature codes, the manager account; check a dialplan.",
    ),
    "enrol": (
        _AT + "enrol:enrol",
        "Enrol this edge, which has its keys and its journal, at a central that is new to it.",
    ),
    "evidence": (
        _AT + "evidence:evidence",
        "Give out what is stored about a call's answer, in a form that others read.",
    ),
    "export": (
        _AT + "export:export",
        "Decrypt a recording into a WAV, FLAC or Opus file, or take it out as age files.",
    ),
    "guard": (_AT + "guard:guard", "Run the AGI guard that stands between Asterisk and the daemon."),
    "hold": (_AT + "hold:hold", "Keep what somebody may need in court, or keep everybody from reading it."),
    "incident": (_AT + "live:incident", "Destroy what was recorded in the last seconds of a call, and let it go on."),
    "init": (_AT + "init:init", "Make keys, folders and a commented configuration."),
    "key": (_AT + "key:key", "Make keys, say who can open what, change who can."),
    "order": (_AT + "order:order", "Make, sign and apply orders by hand; see what became of those that came."),
    "pause": (_AT + "live:pause", "Pause the recording of a call; nothing said meanwhile is kept."),
    "policy": (_AT + "policy:policy", "List policies, show one, try what one would do."),
    "prompts": (_AT + "prompts:prompts", "Check, render and import the prompts."),
    "reads": (_AT + "reads:reads", "List who read a recording, when and what for."),
    "receipt": (_AT + "receipt:receipt", "Show and verify deletion receipts."),
    "recover": (
        _AT + "recover:recover",
        "Take the audio out of a vault whose journal or keys are lost, with central's recovery copy.",
    ),
    "recordings": (_AT + "recordings:recordings", "List recordings and their segments."),
    "rectify": (_AT + "order:rectify", "Correct a call's metadata."),
    "register": (
        _AT + "register:register",
        "Print the register of processing and its neighbours, made from the policies this edge runs.",
    ),
    "reload": (_AT + "reload:reload", "Have the daemon read its policies anew, without dropping calls."),
    "resend": (
        _AT + "resend:resend",
        "Have the daemon tell central everything once more: for a central that lost its database.",
    ),
    "restore": (_AT + "backup:restore", "Put a backup back, while the daemon is stopped."),
    "retention": (_AT + "retention:retention", "What is kept for how long: the plan, approvals, the clock."),
    "resume": (_AT + "live:resume", "Let a paused recording go on, unless another reason holds it."),
    "run": (_AT + "run:run", "Run the edge daemon."),
    "start": (_AT + "live:start", "Ask the caller of a `manual` call now, and record if they agree."),
    "status": (_AT + "status:status", "Say whether this edge can record, and what is in its way."),
    "verify": (
        _AT + "verify:verify",
        "Hold what the journal says against what lies on the disk, both ways, and say what does not agree.",
    ),
    "waveform": (_AT + "waveform:waveform", "Draw who spoke when, and how loudly, without the audio."),
    "why": (_AT + "why:why", "Say why a call was recorded, or why not."),
    "withdraw": (
        _AT + "live:withdraw",
        "End the recording of a call because somebody on it does not want it any more.",
    ),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="CALLWARDEN_CONFIG",
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The edge's configuration; also CALLWARDEN_CONFIG.",
)
@click.version_option(package_name="callwarden", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, config_path: Path) -> None:
    """Recording and consent beside Asterisk: no audio is kept without a stored yes."""
    ctx.obj = Invocation(config_path)


def main() -> None:
    """Run the command and leave with its exit code. CALLWARDEN_DEBUG=1 shows the traceback of an error."""
    try:
        code = cli.main(prog_name="callwarden", standalone_mode=False)
        sys.stdout.flush()
    except (ReaderLeft, BrokenPipeError):
        # Nothing to report, and nothing more to flush into the pipe at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except BaseException as error:
        code = report(error)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
