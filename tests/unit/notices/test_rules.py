"""Who gets a text, and what an answer of the gateway means."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edge.errors import CallwardenError
from edge.model.live import NoticeCall, NoticeRow
from edge.notices import message, webhook
from edge.notices.rules import Rules, afford, judge
from formats import canonical

NOW = datetime(2026, 1, 31, 12, 0, 6, tzinfo=UTC)
RULES = Rules(countries=("CZ", "DE"), country="CZ", per_hour=2, never=("777 123 999",))
CALL = NoticeCall(
    "aa" * 16, "support", "v1", "cs", "ended", "given", "2026-01-31T12:00:00.000Z", "2026-01-31T12:00:06.000Z",
    "777 123 456", None, "plain",
)  # fmt: skip


def test_a_recorded_call_of_an_allowed_country_gets_one() -> None:
    verdict = judge(CALL, RULES, NOW)
    assert (verdict.what, verdict.number, verdict.country) == ("owe", "+420777123456", "CZ")
    assert judge(replace(CALL, number_e164="+4915123456789"), RULES, NOW).country == "DE"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"outcome": "refused"}, "not_recorded"),
        ({"outcome": "objected"}, "not_recorded"),
        ({"outcome": "unavailable"}, "not_recorded"),
        ({"outcome": "not_recorded"}, "not_recorded"),
        ({"ended_at": "2026-01-31T12:00:05.000Z"}, "short"),
        ({"number_heard": None, "number_class": "withheld"}, "withheld"),
        ({"number_class": "withheld"}, "withheld"),
        ({"number_heard": None}, "erased"),
        ({"number_heard": "anonymous"}, "withheld"),
        ({"number_heard": "1001"}, "invalid"),
        ({"number_heard": "sip:eve@evil.example"}, "invalid"),
        ({"number_heard": "112"}, "invalid"),
        ({"number_heard": "155"}, "invalid"),
        ({"number_heard": "800 123 456"}, "shared"),
        ({"number_heard": "+420 777-123-999"}, "never_number"),
        ({"number_heard": "+33 6 12 34 56 78"}, "country"),
        ({"number_heard": "+421 905 123 456"}, "country"),
    ],
)
def test_who_gets_none(change: dict[str, str], why: str) -> None:
    verdict = judge(replace(CALL, **change), RULES, NOW)  # type: ignore[arg-type]
    assert (verdict.what, verdict.why, verdict.number) == ("drop", why, "")


def test_a_text_at_the_start_waits_until_the_call_was_no_accident() -> None:
    going = replace(CALL, state="permitted", ended_at=None)
    assert judge(going, RULES, NOW - timedelta(seconds=1)).what == "wait"
    assert judge(going, RULES, NOW).what == "owe"
    assert judge(replace(going, outcome=None), RULES, NOW).what == "wait"


def test_no_countries_no_texts() -> None:
    assert judge(CALL, replace(RULES, countries=()), NOW).why == "country"


def test_one_a_day_and_so_many_an_hour() -> None:
    assert afford(of_number=0, of_all=1, rules=RULES) == ""
    assert afford(of_number=1, of_all=0, rules=RULES) == "number_had_one"
    assert afford(of_number=0, of_all=2, rules=RULES) == "hour_is_full"


def test_the_specifications_own_vector() -> None:
    """The example of the specification's reference libraries: key, id, time, body and the signature they agree on."""
    keys = webhook.read_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    made = webhook.headers(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert (made["webhook-id"], made["webhook-timestamp"]) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")


def test_two_keys_sign_while_one_is_changed_for_the_other() -> None:
    new, old = bytes(range(24)), bytes(range(64))
    lines = "\n".join("whsec_" + base64.b64encode(key).decode() for key in (new, old))
    made = webhook.headers(webhook.read_keys(lines), "id", NOW, b"{}")
    content = b"id." + made["webhook-timestamp"].encode() + b".{}"
    wanted = [base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in (new, old)]
    assert made["webhook-signature"].split(" ") == [f"v1,{one}" for one in wanted]


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_***", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                                  "whsec_" + base64.b64encode(bytes(65)).decode()])  # fmt: skip
def test_secrets_that_are_none(text: str) -> None:
    with pytest.raises(CallwardenError) as refused:
        webhook.read_keys(text)
    assert refused.value.code == "config.notices"
    assert not text or text not in str(refused.value)


def test_what_an_answer_means() -> None:
    def answer(status: int, after: str | None = None) -> tuple[str, str, timedelta | None]:
        made = webhook.read_answer(status, {"retry-after": after} if after is not None else {}, NOW)
        return made.what, made.why, made.wait

    for status in (200, 202, 204, 299):
        assert answer(status) == ("sent", "", None)
    assert answer(410) == ("drop", "gone", None)
    for status in (301, 307, 400, 401, 404, 500, 502):
        assert answer(status) == ("retry", f"http_{status}", None)
    assert answer(429, "7") == ("retry", "http_429", timedelta(seconds=7))
    assert answer(503, "Sat, 31 Jan 2026 12:01:06 GMT") == ("retry", "http_503", timedelta(minutes=1))
    assert answer(429, "999999999")[2] == webhook.LONGEST_WAIT
    assert answer(429, "-5")[2] is answer(429, "soon")[2] is answer(429, "Sat, 31 Jan 2026 12:01:06")[2] is None
    assert answer(429, "Sat, 31 Jan 2026 11:00:00 GMT")[2] == timedelta()


def test_tries_become_rarer_and_end() -> None:
    waits = [webhook.next_try(n, None, 0.0) for n in range(1, 6)]
    assert waits == [*webhook.DELAYS, None]
    assert webhook.next_try(1, timedelta(minutes=2), 0.0) == timedelta(minutes=2)
    assert webhook.next_try(2, timedelta(seconds=2), 0.0) == webhook.DELAYS[1]
    late = webhook.next_try(1, None, 0.999)
    assert late is not None
    assert webhook.DELAYS[0] < late < webhook.DELAYS[0] * 1.2
    assert webhook.next_try(5, timedelta(seconds=1), 0.0) is None


NOTICE = NoticeRow(
    "bb" * 16, "aa" * 16, "end", "+420777123456", "cc" * 32, "CZ", "waiting", 0, "2026-01-31T12:00:06.000Z",
    "2026-01-31T12:00:06.000Z", None, "",
)  # fmt: skip


def test_the_body_is_the_same_at_every_attempt() -> None:
    facts = {"policy_id": "support", "policy_version": "v1", "language": "cs_CZ", "link": "https://example.org/r"}
    first = message.body(NOTICE, **facts)
    assert first == message.body(
        replace(NOTICE, attempts=3, due_at="2026-01-31T13:00:00.000Z", why="http_503"), **facts
    )
    told = canonical.loads(first)
    assert (told["type"], told["timestamp"]) == ("call.notice", NOTICE.made_at)
    assert told["data"] == {
        "notice_id": "bb" * 16, "call_id": "aa" * 16, "when": "end", "number": "+420777123456", "country": "CZ",
        "policy": "support", "policy_version": "v1", "language": "cs_CZ", "link": "https://example.org/r",
        "text": "Váš hovor s námi je nahráván. K čemu a jaká máte práva: https://example.org/r",
    }  # fmt: skip
    assert "cc" * 32 not in first.decode()


def test_every_shipped_language_has_its_sentence() -> None:
    made = {language: message.text(language, "") for language in ("en", "cs", "sk", "de", "fr", "es")}
    assert len(set(made.values())) == 6
    assert message.text("xx", "L") == message.text("en", "L")
    assert all("{" not in message.text(language, "https://x") for language in made)
