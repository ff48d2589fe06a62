"""What somebody at this edge's own door asks about erasing: a search, an order carried by hand, a certificate, a correction."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge.consent.numbers import class_of, e164
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import ReceiptRow
from edge.retention.means import Means, fleet_of
from edge.retention.people import People
from edge.retention.repolicy import version_for
from edge.retention.terms import TermsBook
from formats import canonical
from formats.certificate import LogEntry, entries_of, make_certificate
from formats.checkpoint import Checkpoint, EntryProof
from formats.errors import FormatError
from formats.keyset import KeySet, entry
from formats.note import Note
from formats.orders import Person, read_order, verify_order, verify_receipt


class ByHand:
    """Implements `edge.api.deps.ErasurePort`. `wake`: there is a new order."""

    def __init__(self, means: Means, people: People, terms: TermsBook, wake: Callable[[], None]) -> None:
        self._means = means
        self._terms = terms
        self._people = people
        self._wake = wake

    async def locate(self, number: str, as_of: str, uid: int) -> Mapping[str, Any]:
        """`located` `number` (E.164) `matches` `more`. Raises usage.number, command.rate."""
        found = e164(number, self._means.country())
        if found is None:
            hint = "write it with its country: +420…"
            raise CallwardenError("usage.number", "this is no telephone number", hint=hint, where="number")
        await self._means.journal.note_audit("person.asked", body={"uid": uid})
        return {**await self._people.search_here(found, as_of), "number": found}

    async def take(self, order: Mapping[str, Any], opening: object, uid: int) -> Mapping[str, Any]:
        """Store an order for its executor: `jti`, `new`. One that would be refused is refused here, and not stored. Raises
        auth.*, command.*."""
        means = self._means
        try:
            claims = read_order(order)
            verify_order(order, means.trust, now=means.clock.wall_text(), fleet=fleet_of(means.trust))
            person = Person.of_document(opening, claims.target.id) if claims.target.kind == "person" else None
        except FormatError as error:
            raise CallwardenError(error.code, error.message, where="order") from error
        slot = None
        if person is not None:
            slot = await means.slots.put(person.packed())
            hit("order.opening_synced")
        await means.journal.note_audit("order.brought", body={"jti": claims.jti, "uid": uid})
        text = canonical.dumps(dict(order)).decode()
        new = await means.journal.take_order(claims.jti, text, means.clock.wall_text(), slot)
        if not new and slot is not None:
            await means.slots.release([slot])
        self._wake()
        return {"jti": claims.jti, "new": new}

    async def orders(self) -> Sequence[Mapping[str, Any]]:
        """jti cmd target reason state received_at due_at waiting done results of each order, oldest first."""
        journal, found = self._means.journal, []
        for row in await journal.orders(("received", "deferred", "executing", "answered", "acknowledged")):
            try:
                claims = read_order(row.jws)
            except FormatError:
                continue  # refused for that, with its receipt
            finds = await journal.finds(row.jti)
            receipts = await journal.receipts_of(row.jti)
            found.append(
                {
                    "jti": row.jti, "cmd": claims.cmd, "target": claims.target.kind, "reason": claims.reason,
                    "state": row.state, "received_at": row.received_at, "due_at": row.due_at,
                    "waiting": sum(one.state == "waiting" for one in finds),
                    "done": sum(one.state == "done" for one in finds),
                    "held": sorted({one.waits_for for one in finds if one.waits_for}),
                    "results": [one.result for one in receipts],
                }
            )  # fmt: skip
        return found

    async def in_force(self) -> Mapping[str, Any]:
        """`policies` that orders brought (policy jti iat acts_at state empty; state: `in force`, `waits`, or `unusable`) and
        `keys` as they are pinned now (kid role owner not_before retired), `keys_by` the order or "" for the trust file."""
        means, desk = self._means, self._means.policy_desk
        policies = [
            {
                "policy": one.name, "order": one.jti, "issued_at": one.iat, "acts_at": one.acts_at,
                "state": ("unusable" if desk and one.jti in desk.unusable else "in force") if one.acting else "waits",
                "files_own": not one.toml,
            }
            for one in await means.journal.ordered_policies()
        ]  # fmt: skip
        pinned = await means.journal.pinned()
        keys = [
            {
                "kid": one.kid, "role": one.role, "owner": one.owner, "not_before": one.not_before,
                "retired": one.retired,
            }
            for one in means.trust.entries
        ]  # fmt: skip
        return {
            "policies": policies, "keys": keys, "keys_by": pinned.jti if pinned is not None else "",
            "keyset": canonical.loads(means.trust.dump()),
        }  # fmt: skip

    async def rectify(self, call_id: str, changes: Mapping[str, str], reason: str, uid: int) -> Mapping[str, Any]:
        """Correct a call's metadata: `call`, `fields`. Raises usage.rectify, calls.*, journal.unknown,
        not_found.policy."""
        means, given = self._means, dict(changes)
        if not given:
            raise CallwardenError("usage.rectify", "nothing is to be corrected", hint="--number, --language, --policy")
        number: tuple[str, str | None, str, str | None] | None = None
        if "number" in given:
            heard, country = given.pop("number"), means.country()
            known = e164(heard, country)
            digest = await means.digest(known) if known is not None and means.digest is not None else None
            kind = class_of(heard, country)
            number = (heard, known, "plain" if kind == "shared" else kind, digest)
        if "policy" in given:
            given["policy_version"] = await version_for(means, self._terms, call_id, given["policy"])
        fields = await means.journal.rectify(call_id, given, number, reason, uid)
        return {"call": call_id, "fields": list(fields)}

    # ------------------------------------------------------------ certificate

    async def certificate(self, recording_id: str) -> Mapping[str, Any]:
        """This edge's own certificate about a recording it erased. Raises not_found.receipt, certificate.pending."""
        means = self._means
        tombstone = await means.journal.tombstone(recording_id)
        receipt = await means.journal.receipt(str((tombstone or {}).get("receipt_id")))
        if receipt is None:
            hint = "only what was erased under an order or a ground has one"
            raise CallwardenError("not_found.receipt", "there is no receipt about it", hint=hint, where=recording_id)
        order = await means.journal.order(receipt.jti)
        if order is not None and order.state not in ("answered", "acknowledged"):
            raise CallwardenError(
                "certificate.pending", "its order is not carried out yet", where=receipt.jti, retryable=True
            )
        receipts = await means.journal.receipts_of(receipt.jti)
        keys = self._keys()
        await means.head()  # a checkpoint over everything up to now
        try:
            return make_certificate(
                means.key,
                [one.jws for one in receipts],
                None if order is None else canonical.loads(order.jws),
                keys,
                certificate_id=secrets.token_hex(16),
                at=means.clock.wall_text(),
                issuer=means.edge_id,
                level=0,
                log=await self._logged(receipts, keys),
            )
        except FormatError as error:
            raise CallwardenError(error.code, error.message, where=recording_id) from error

    def _keys(self) -> KeySet:
        means = self._means
        own = entry(means.key.verify_key, "edge", means.edge_id, edge_id=means.edge_id)
        known = {one.kid for one in means.trust.entries}
        return means.trust if own.kid in known else KeySet.of([*means.trust.entries, own])

    async def _logged(self, receipts: Sequence[ReceiptRow], keys: KeySet) -> list[LogEntry]:
        """The entries of one order's receipts under the newest checkpoint, cosigned where there is one that far."""
        journal = self._means.journal
        claims = [verify_receipt(one.jws, keys)[0] for one in receipts]
        names = {one.receipt_id for one in claims} | {one.jti for one in claims}
        found = entries_of(await journal.entries_naming(names), claims)
        heads = [head for head in (await journal.last_cosigned(), await journal.last_checkpoint()) if head is not None]
        log: list[LogEntry] = []
        for index, text, one in (found[one.receipt_id] for one in claims if one.receipt_id in found):
            for note in (head.cosigned or head.note for head in heads):
                size = Checkpoint.parse(Note.parse(note).text).size
                if index < size:
                    path = tuple(await journal.audit_proof(index, size))
                    log.append(LogEntry(one.receipt_id, text, str(EntryProof(index, path, note))))
                    break
        return log
