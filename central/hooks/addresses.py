"""Which receivers central may reach: a request by it must not become one from inside the operator's network. Pure.

Sources: IANA's special-purpose registries as `ipaddress` knows them; RFC 6052 (64:ff9b::/96), RFC 8215 (64:ff9b:1::/48),
RFC 3056 (2002::/16), RFC 4380 (2001::/32), RFC 6598 (100.64.0.0/10), the providers' documents for their metadata services.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from central.errors import CentralError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What the registries call global and a receiver is not: IPv4 addresses in IPv6 spelling, which lead to the IPv4 host
#: by translation; a cloud's own services at public addresses.
_MORE: Final = tuple(
    (ipaddress.ip_network(network), why)
    for network, why in (
        ("::ffff:0:0/96", "ipv4_in_ipv6"),
        ("::/96", "ipv4_in_ipv6"),
        ("64:ff9b::/96", "ipv4_in_ipv6"),
        ("64:ff9b:1::/48", "ipv4_in_ipv6"),
        ("2002::/16", "ipv4_in_ipv6"),
        ("2001::/32", "ipv4_in_ipv6"),
        ("169.254.0.0/16", "link_local"),
        ("fe80::/10", "link_local"),
        ("fec0::/10", "private"),
        ("100.64.0.0/10", "shared"),
        ("192.88.99.0/24", "reserved"),
        ("168.63.129.16/32", "metadata"),
        ("192.0.0.192/32", "metadata"),
    )
)
#: A DNS name whose last label is no number: "2130706433", "0x7f.1" and "0177.0.0.1" are addresses to a resolver.
_NAME: Final = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII
)
#: Ports below 1024 belong to other protocols, whose servers must not be talked to.
_LOWEST_PORT: Final = 1024


def refused(address: Address, allow: Sequence[Network]) -> str:
    """Why this address is not reached, in a word; "" when it is: public, or listed. An IPv4 address in IPv6 spelling has to be
    listed in that spelling."""
    if any(address.version == network.version and address in network for network in allow):
        return ""
    if address.is_unspecified:
        return "unspecified"
    if address.is_loopback:
        return "loopback"
    if address.is_multicast:
        return "multicast"
    for network, why in _MORE:
        if address.version == network.version and address in network:
            return why
    if address.is_private:
        return "private"
    return "" if address.is_global and not address.is_reserved else "reserved"


def literal(host: str) -> Address | None:
    """The address that a host is, None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check_url(url: str, allow: Sequence[Network], where: str) -> SplitResult:
    """The parts of a receiver's URL. Raises CentralError config.webhook: not https (http to a loopback address that is listed is
    taken), a name or password in it, a fragment, an odd port, a host that is neither a name nor a plainly written address,
    an address that is not reached."""

    def no(what: str, hint: str = "") -> CentralError:
        return CentralError("config.webhook", f"url: {what}", where=where, hint=hint)

    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise no("it has characters that no URL has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise no(str(error)) from error
    host = (parts.hostname or "").lower()
    if "@" in parts.netloc or parts.fragment or "#" in url:
        raise no("no user, password or fragment may be in it")
    address = literal(host)
    if "%" in host or (address is None and not _NAME.fullmatch(host)):
        raise no("the host is neither a name nor an address", "write addresses as 192.0.2.1 or [2001:db8::1]")
    if address is not None and (why := refused(address, allow)):
        raise no(f"{address} is not reached ({why})", f'allow = ["{address}"] if it is meant')
    here = host == "localhost" or (address is not None and address.is_loopback)
    if parts.scheme == "http":
        if not here or not any(network.is_loopback for network in allow):
            raise no("plain http is for loopback addresses that are listed", "https://…")
    elif parts.scheme != "https":
        raise no("it must be https")
    if port is not None and port != 443 and port < _LOWEST_PORT and not (parts.scheme == "http" and port == 80):
        raise no(f"port {port} belongs to another protocol", "443, or 1024 and above")
    return parts


def port_of(parts: SplitResult) -> int:
    """The port a URL means."""
    return parts.port or (443 if parts.scheme == "https" else 80)
