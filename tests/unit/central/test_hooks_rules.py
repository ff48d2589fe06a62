"""The pure rules of webhooks and mail: addresses, signatures, waits, settings."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from central import tls
from central.config import from_table
from central.errors import CentralError
from central.hooks.addresses import check_url, refused
from central.hooks.settings import matches, read
from central.hooks.signing import GIVE_UP, LONGEST_WAIT, backoff, headers, read_answer, read_keys, retry_after

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"), ("127.255.255.254", "loopback"), ("::1", "loopback"), ("0.0.0.0", "unspecified"),
        ("::", "unspecified"), ("10.1.2.3", "private"), ("172.31.0.1", "private"), ("192.168.1.1", "private"),
        ("169.254.169.254", "link_local"), ("fe80::1", "link_local"), ("fd00:ec2::254", "private"),
        ("100.64.0.1", "shared"), ("100.100.100.200", "shared"), ("168.63.129.16", "metadata"), ("192.0.0.192", "metadata"),
        ("224.0.0.1", "multicast"), ("ff02::1", "multicast"), ("255.255.255.255", "private"), ("240.0.0.1", "private"),
        ("::ffff:127.0.0.1", "ipv4_in_ipv6"), ("::ffff:8.8.8.8", "ipv4_in_ipv6"), ("::7f00:1", "ipv4_in_ipv6"),
        ("64:ff9b::7f00:1", "ipv4_in_ipv6"), ("64:ff9b:1::a00:1", "ipv4_in_ipv6"), ("2002:7f00:1::", "ipv4_in_ipv6"),
        ("2001:0:7f00:1::", "ipv4_in_ipv6"), ("fec0::1", "private"), ("192.0.2.1", "private"), ("2001:db8::1", "private"),
        ("198.18.0.1", "private"), ("8.8.8.8", ""), ("2a00:1450:4014:80e::200e", ""),
    ],
)  # fmt: skip
def test_addresses_that_are_not_reached(address: str, why: str) -> None:
    found = refused(ipaddress.ip_address(address), ())
    assert (found == "") == (why == "")
    if why in ("link_local", "ipv4_in_ipv6", "metadata", "shared", "multicast", "unspecified"):
        assert found == why


def test_a_listed_network_is_reached_and_no_other_spelling_of_it() -> None:
    allow = (ipaddress.ip_network("10.1.2.0/24"),)
    assert refused(ipaddress.ip_address("10.1.2.9"), allow) == ""
    assert refused(ipaddress.ip_address("10.1.3.9"), allow) == "private"
    assert refused(ipaddress.ip_address("::ffff:10.1.2.9"), allow) == "ipv4_in_ipv6"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "ftp://example.org/", "https:///x", "https://", "example.org", "https://2130706433/",
        "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/", "https://0x7f.1/", "https://1.1.1.1.1/",
        "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[fe80::1%25eth0]/",
        "https://user@example.org/", "https://user:word@example.org/", "https://example.org@10.0.0.1/",
        "https://example.org:22/", "https://example.org:25/", "https://example.org:0/", "https://example.org:99999/",
        "https://example.org/#x", "https://exa mple.org/", "https://example.org\\@10.0.0.1/", "https://ex\u00e4mple.org/",
        "https://example.org/\r\nX: y", "https://169.254.169.254/latest/meta-data", "http://localhost/", "http://127.0.0.1/",
        "https://example.org./",
    ],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(CentralError) as caught:
        check_url(url, (), "here")
    assert caught.value.code == "config.webhook"


def test_urls_that_are_taken() -> None:
    here = (ipaddress.ip_network("127.0.0.0/8"),)
    for url, allow in (
        ("https://example.org/in?token=x", ()),
        ("https://example.org:8443/in", ()),
        ("https://xn--exmple-cua.org/", ()),
        ("https://[2a00:1450:4014:80e::200e]/", ()),
        ("http://127.0.0.1:8000/", here),
        ("http://localhost:8000/", here),
    ):
        assert check_url(url, allow, "here").scheme in ("http", "https")


def test_the_signature_is_the_public_vector() -> None:
    """Of the reference libraries' own tests (standard-webhooks/libraries)."""
    keys = read_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "x")
    made = headers(
        keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), b'{"test": 2432232314}'
    )
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_keys_sign_and_no_more_are_taken() -> None:
    one, two = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    made = headers(read_keys(f"whsec_{one}\nwhsec_{two}\n", "x"), "m", NOW, b"{}")["webhook-signature"].split(" ")
    for n, said in zip((1, 2), made, strict=True):
        content = b"m." + str(int(NOW.timestamp())).encode() + b".{}"
        assert said == "v1," + base64.b64encode(hmac.new(bytes([n]) * 32, content, hashlib.sha256).digest()).decode()
    for bad in ("", "whsec_" + base64.b64encode(b"short").decode(), one, f"whsec_{one} " * 3, "whsec_!!"):
        with pytest.raises(CentralError) as caught:
            read_keys(bad, "x")
        assert caught.value.code == "config.webhook"
        assert not bad or bad.split()[0] not in str(caught.value)


def test_what_an_answer_means() -> None:
    assert read_answer(204, {}, NOW).what == "sent"
    assert read_answer(410, {}, NOW).what == "gone"
    for status in (301, 307, 400, 404, 500, 503):
        assert read_answer(status, {}, NOW).what == "retry"
    assert read_answer(429, {"retry-after": "120"}, NOW).wait == timedelta(minutes=2)
    assert read_answer(400, {"retry-after": "120"}, NOW).wait is None
    assert retry_after("Sat, 31 Jan 2026 12:05:00 GMT", NOW) == timedelta(minutes=5)
    assert retry_after("-5", NOW) is None
    assert retry_after("9" * 5000, NOW) is None
    assert retry_after("999999999", NOW) == timedelta(days=1)


def test_waits_grow_to_a_bound_and_are_spread() -> None:
    waits = [backoff(n, 0.999) for n in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[-1] <= LONGEST_WAIT
    assert backoff(3, 0.0) * 2 >= backoff(3, 0.999)
    assert backoff(3, 0.0) < backoff(3, 0.5) < backoff(3, 0.999)
    assert backoff(10**6, 0.5) <= LONGEST_WAIT < GIVE_UP


def test_which_types_a_pattern_wants() -> None:
    assert matches(("incident.*",), "incident.opened")
    assert not matches(("incident.*",), "incidents.opened")
    assert not matches(("incident.*",), "incident")
    assert matches(("call.outcome",), "call.outcome")
    assert not matches(("call.outcome",), "call.outcome.more")
    assert matches(("*",), "anything")


HOOK = {"url": "https://example.org/in", "secret": "hook.secret", "events": ["call.outcome"]}
MAIL = {"host": "mail.example.org", "from": "callwarden@example.org", "to": ["dpo@example.org"]}


def _read(hooks: Any, mail: Any = None) -> Any:
    return read(hooks, mail, lambda name, text, where: Path("/data") / text, "central.toml")


def test_settings_are_read() -> None:
    outgoing = _read({"crm": {**HOOK, "allow": ["10.1.2.0/24"], "ca": "ca.pem"}}, MAIL)
    hook = outgoing.webhook("crm")
    assert (hook.secret, hook.ca, hook.allow) == (
        Path("/data/hook.secret"),
        Path("/data/ca.pem"),
        (ipaddress.ip_network("10.1.2.0/24"),),
    )
    assert (outgoing.mail.port, outgoing.mail.security) == (587, "starttls")
    assert outgoing.wanted("call.outcome") == ("crm",)
    assert outgoing.wanted("incident.opened") == ("mail",)
    assert _read({}, {**MAIL, "security": "tls"}).mail.port == 465


@pytest.mark.parametrize(
    "more",
    [
        {"url": "http://example.org/"}, {"secret": ""}, {"events": []}, {"events": ["Call"]}, {"events": "x"}, {"allow": ["x"]},
        {"allow": [1]}, {"allow": ["10.1.2.3/8"]}, {"more": 1}, {"url": 1},
    ],
)  # fmt: skip
def test_webhooks_that_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(CentralError, match=r"webhooks\.crm"):
        _read({"crm": HOOK | more})


@pytest.mark.parametrize("table", [{"webhooks": {"crm": {**HOOK, "ca": "ca.pem"}}}, {"mail": {**MAIL, "ca": "ca.pem"}}])
def test_authorities_are_read_with_the_configuration(tmp_path: Path, table: dict[str, Any]) -> None:
    for content in (None, "not PEM"):
        if content is not None:
            (tmp_path / "ca.pem").write_text(content)
        with pytest.raises(CentralError, match=r"ca\.pem") as caught:
            from_table({"data": ".", **table}, base=tmp_path)
        assert caught.value.code == "config.ca"
    (tmp_path / "ca.pem").write_bytes(tls.make_ca("mail", NOW)[0])
    assert from_table({"data": ".", **table}, base=tmp_path).outgoing.names()


@pytest.mark.parametrize("name", ["mail", "A", "", "a b", "x" * 33])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(CentralError):
        _read({name: HOOK})


@pytest.mark.parametrize(
    "more",
    [
        {"host": ""}, {"host": "a\r\nb"}, {"port": 0}, {"port": True}, {"security": "none"}, {"user": "x"}, {"password": "x"},
        {"from": "nobody"}, {"from": "a@b.org\r\nBcc: c@d.org"}, {"to": []}, {"to": ["a@b.org, c@d.org"]}, {"to": [1]},
        {"to": ["a@b.org\nBcc: c@d.org"]}, {"more": 1}, {"events": ["x y"]},
    ],
)  # fmt: skip
def test_mail_that_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(CentralError, match="mail"):
        _read({}, MAIL | more)
