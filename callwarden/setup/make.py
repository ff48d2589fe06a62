"""Make what the plan says. Nothing that exists is overwritten, a TLS certificate apart; what was there is told apart from what was made."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from callwarden import keyfiles
from callwarden.setup import texts
from callwarden.setup.plan import Plan
from edge.errors import CallwardenError
from edge.sync import tlskey
from formats import canonical
from formats.errors import FormatError
from formats.ids import format_time
from formats.keys import SigningKey, VerifyKey
from formats.keyset import KeyEntry, KeySet, entry


@dataclass
class Made:
    """What init did. paths: name -> path of everything of interest; recipients: (public key, whose)."""

    paths: dict[str, Path] = field(default_factory=dict)
    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    recipients: list[tuple[str, str]] = field(default_factory=list)
    central_url: str = ""
    edge_kid: str = ""
    dpo_kid: str = ""
    notes: list[str] = field(default_factory=list)


class Maker:
    """Makes folders and files of one plan and keeps the account."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.done = Made()
        self._uid = user_id(plan.owner)
        self._central_uid = user_id(plan.central_owner) if plan.central_owner else self._uid
        self._gid = group_id(plan.group)

    def run(self) -> Made:
        """Everything, in an order in which a second run finishes what an interrupted first one began."""
        self._folders()
        self._secrets()
        self._recipients()
        edge_key = self._signing_key()
        dpo = self._dpo()
        central_ca = self._central(edge_key, dpo)
        plan, done = self.plan, self.done
        self._file("config", plan.folder / "edge.toml", texts.edge_toml(plan, done.central_url, central_ca), 0o644)
        support = texts.support_toml(plan, done.recipients)
        self._file("policy_support", plan.folder / "conf.d" / "support.toml", support, 0o644)
        self._file("policy_private", plan.folder / "conf.d" / "private.toml", texts.private_toml(), 0o644)
        return done

    # -- pieces

    def _folders(self) -> None:
        plan = self.plan
        for name, path, mode in (
            ("folder", plan.folder, 0o755),
            ("conf_d", plan.folder / "conf.d", 0o755),
            ("keys", plan.keys, 0o700),
            ("var", plan.var, 0o755),
            ("state", plan.state, 0o700),
            ("vault", plan.vault, 0o700),
            ("prompt_cache", plan.prompt_cache, 0o755),
            ("run", plan.run, 0o755),
            ("resume", plan.resume, 0o700),
        ):
            # The operator's key folder, and the configuration, stay with whoever runs init.
            self._folder(name, path, mode, None if name in ("keys", "folder", "conf_d", "var") else self._uid)
        # Asterisk may enter the spool by name and not list it: names there are 128 random bits.
        self._folder("spool", plan.spool, 0o710, self._uid, self._gid)
        self.done.paths |= {
            "journal": plan.journal,
            "socket": plan.socket,
            "agi_socket": plan.agi_socket,
            "prompts": plan.prompts,
        }

    def _secrets(self) -> None:
        for name, file in (("ami_secret", "ami.secret"), ("agi_token", "agi.token")):
            self._file(name, self.plan.folder / file, secrets.token_hex(24) + "\n", 0o600, self._uid)

    def _recipients(self) -> None:
        plan = self.plan
        if plan.recipients:
            self.done.recipients = [(key, "given to init") for key in plan.recipients]
            return
        for name, what in (
            ("operator", "opens recordings, for those who listen"),
            ("recovery", "opens recordings when the operator's key is lost"),
        ):
            path = plan.keys / f"{name}.age-identity"
            if not path.exists():
                purpose = f"callwarden {name}: {what}"
                content = keyfiles.identity_text(keyfiles.new_identity(), datetime.now(UTC), purpose)
                self._file(f"{name}_identity", path, content.decode(), 0o600)
            else:
                self._account(f"{name}_identity", path, made=False)
            identity = keyfiles.read_identities(path)[0]
            self.done.recipients.append((str(identity.recipient()), name))

    def _signing_key(self) -> SigningKey:
        path = self.plan.folder / "edge.key"
        self._file("edge_key", path, keyfiles.jwk_text(keyfiles.new_signing_key()).decode(), 0o600, self._uid)
        key = keyfiles.read_signing_key(path)
        self.done.edge_kid = key.kid
        return key

    def _dpo(self) -> VerifyKey:
        """The DPO's public key: given, or of a pair made into the key folder."""
        if (given := self.plan.dpo_public) is not None:
            try:
                document = canonical.loads(given.read_bytes())
                if not isinstance(document, dict):
                    raise CallwardenError("auth.key", "not a public JWK", where=str(given))
                key = VerifyKey.from_jwk(document)
            except FormatError as error:
                raise CallwardenError("auth.key", error.message, where=str(given)) from error
        else:
            path = self.plan.keys / "dpo.key"
            self._file("dpo_key", path, keyfiles.jwk_text(keyfiles.new_signing_key()).decode(), 0o600)
            key = keyfiles.read_signing_key(path).verify_key
        self.done.dpo_kid = key.kid
        return key

    def _central(self, edge_key: SigningKey, dpo: VerifyKey) -> bool:
        """Set up or reach central and write the trust file; whether there is a CA to pin."""
        plan = self.plan
        if plan.central_listen:
            from callwarden.setup.local_central import set_up

            trust, ca, result = set_up(plan, edge_key.verify_key, dpo)
            for path in result.made:
                self._give(path, self._central_uid)
            self._give(plan.central_folder, self._central_uid)
            self._give(plan.central_data, self._central_uid)
            self.done.made += result.made
            self.done.kept += result.kept
            self.done.central_url = result.config.url
            self.done.paths |= {"central_config": result.config_path, "central_token": result.config.token}
        elif plan.central_url and plan.enrol_token:
            from callwarden.setup.remote_central import compared, enrol

            answer = enrol(plan, edge_key)
            trust, ca = answer.keyset, answer.ca_pem or b""
            place = plan.state / tlskey.NAME
            tlskey.put_certificate(place, answer.tls_pem)
            if answer.tls_pem:
                self._give(place, self._uid)
                self._account("tls", place, made=True)
            self.done.notes.append(compared(answer))
            self.done.central_url = plan.central_url
        else:
            now = format_time(datetime.now(UTC))
            people: list[KeyEntry] = [entry(dpo, "dpo", "dpo", not_before=now)]
            own = entry(edge_key.verify_key, "edge", plan.edge_id, edge_id=plan.edge_id)
            trust, ca = KeySet.of([own, *people]), b""
            self.done.central_url = plan.central_url
            if plan.central_url:
                self.done.notes.append(
                    "not enrolled yet: remove trust.json and edge.toml (it names no CA yet), then run init with --enrol-token"
                )
        if ca:
            self._file("central_ca", plan.folder / "central-ca.pem", ca.decode(), 0o644)
        self._file("trust", plan.folder / "trust.json", trust.dump().decode(), 0o644)
        return bool(ca)

    # -- the account

    def _folder(self, name: str, path: Path, mode: int, uid: int | None = None, gid: int | None = None) -> None:
        new = not path.is_dir()
        try:
            path.mkdir(parents=True, exist_ok=True)
            if new:
                path.chmod(mode)
        except OSError as error:
            raise CallwardenError(
                "environment.folder",
                f"the folder cannot be made: {error.strerror}",
                hint="run as root, or choose folders of your own: --var-dir, --run-dir",
                where=str(path),
            ) from error
        if new:
            self._give(path, uid, gid)
        elif path.is_symlink() or path.stat().st_uid not in (os.geteuid(), 0, uid):
            raise CallwardenError(
                "environment.folder",
                "the folder was there and belongs to somebody else",
                hint="whoever owns it could read what is kept there: choose another, or remove it",
                where=str(path),
            )
        self._account(name, path, made=new)

    def _file(self, name: str, path: Path, text: str, mode: int, uid: int | None = None) -> None:
        if path.exists():
            self._account(name, path, made=False)
            return
        keyfiles.write_new(path, text.encode(), mode)
        self._give(path, uid)
        self._account(name, path, made=True)

    def _account(self, name: str, path: Path, *, made: bool) -> None:
        self.done.paths[name] = path
        (self.done.made if made else self.done.kept).append(path)

    def _give(self, path: Path, uid: int | None, gid: int | None = None) -> None:
        """Hand over what was made. Without root only one's own groups can be given; the daemon then gives files."""
        if (uid is None or uid == os.geteuid()) and gid is None:
            return
        try:
            os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid)
        except PermissionError as error:
            if uid is not None and uid != os.geteuid():
                message = "only root can give files to another user"
                raise CallwardenError("environment.owner", message, hint="run init as root", where=str(path)) from error
            self.done.notes.append(f"{path} could not be given to group {self.plan.group}: Asterisk may not enter it")


def user_id(name: str) -> int | None:
    """uid of a user by name or number; None for "". Raises environment.no_user."""
    if not name or name.isdecimal():
        return int(name) if name else None
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise CallwardenError("environment.no_user", "there is no such user", where=name) from error


def group_id(name: str) -> int | None:
    """gid of a group by name or number; None when there is none of that name (config check says so)."""
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def summary(plan: Plan, done: Made) -> dict[str, Any]:
    """The JSON document of `init --json`."""
    return {
        "edge_id": plan.edge_id,
        "level": 0 if plan.single_host else 1,
        "edge_kid": done.edge_kid,
        "dpo_kid": done.dpo_kid,
        "recipients": [key for key, _ in done.recipients],
        "central_url": done.central_url,
        "agi_listen": plan.agi_listen,
        "paths": {name: str(path) for name, path in done.paths.items()},
        "made": [str(p) for p in done.made],
        "kept": [str(p) for p in done.kept],
        "notes": done.notes,
    }
