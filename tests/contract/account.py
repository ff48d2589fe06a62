"""Puts the manager account of the shipped sample into a running Asterisk, word for word but for the secret."""

from __future__ import annotations

from pathlib import Path

from rig.asterisk import Asterisk

SAMPLE = Path(__file__).parents[2] / "dialplan" / "manager.callwarden.conf.sample"


def use_sample_account(pbx: Asterisk) -> None:
    """Replace the rig's own [callwarden] by the sample's, and reload the manager."""
    path = pbx.run / "etc" / "manager.conf"
    sections = path.read_text().split("\n[")
    kept = [section for section in sections if not section.startswith("callwarden]")]
    sample = SAMPLE.read_text().replace("put-here-what-ami.secret-holds", pbx.ami_secret)
    path.write_text("\n[".join(kept) + "\n" + sample)
    pbx.cli("manager reload")
