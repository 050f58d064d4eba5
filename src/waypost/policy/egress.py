"""Which addresses and ports Waypost may connect to: pure rules, asked at the socket.

An address is refused unless it is a public one. What is public is decided by lists and, for IPv6,
by the one block that IANA gives out (2000::/3); the `is_private` and `is_global` of the standard
library differ between releases and miss several blocks. An operator opens further networks one by
one; there is no switch that turns the rules off.

Sources: IANA special-purpose address registries (RFC 6890 and its updates), RFC 4291, RFC 6052.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import msgspec

from waypost.model.errors import ConfigInvalid

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PUBLIC_PORTS: Final = frozenset({80, 443})

DENIED_V4: Final = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches the host itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "168.63.129.16/32",  # Azure's agent, in public space
    )
)

PUBLIC_V6: Final = IPv6Network("2000::/3")
DENIED_V6: Final = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # Teredo, ORCHID, benchmarks and other assignments
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries any IPv4 address
        "3fff::/20",  # documentation
    )
)

NAT64: Final = IPv6Network("64:ff9b::/96")

METADATA: Final[frozenset[Address]] = frozenset(
    ip_address(address)
    for address in (
        "169.254.169.254",  # AWS, Azure, Google, Oracle, DigitalOcean, OpenStack
        "169.254.170.2",  # AWS ECS
        "169.254.170.23",  # AWS EKS
        "169.254.42.42",  # Scaleway
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "168.63.129.16",  # Azure
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS EKS
        "fd20:ce::254",  # Google
        "fd00:42::42",  # Scaleway
        "fe80::a9fe:a9fe",  # OpenStack
    )
)
"""Addresses that hand out a machine's credentials: an allowed supernet does not open them."""

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_SEPARATORS: Final = re.compile(r"[\s,]+")
_NAME: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?")


class EgressRules(msgspec.Struct, frozen=True):
    """What an operator opened beyond the public internet.

    Attributes:
        allow: networks that may be reached, on any port and without TLS. Where `64:ff9b::/96`
            (NAT64) is inside one, its addresses are judged as the IPv4 addresses they carry.
        names: host names whose subdomains, and they themselves, may be registered like hosts
            inside `allow`. They open no address.
        own: further addresses of this installation (such as the public one in front of it), which
            must not be reached unless they are inside `allow`. The addresses of the machine's own
            interfaces are found at the socket and need not be listed.
    """

    allow: tuple[Network, ...] = ()
    names: tuple[str, ...] = ()
    own: frozenset[Address] = frozenset()


NO_RULES: Final = EgressRules()


def parse_allow(text: str) -> EgressRules:
    """Read an allow list: networks, addresses and dotted host names, by commas or blanks.

    Raises:
        ConfigInvalid: an entry is none of these, is a whole address family (`/0`), or is an
            IPv4-mapped IPv6 network, which must be written as IPv4.
    """
    allow: list[Network] = []
    names: list[str] = []
    for entry in _SEPARATORS.split(text.strip().lower()):
        if _NAME.fullmatch(entry):
            names.append(entry)
        elif entry:
            allow.append(_network(entry))
    return EgressRules(allow=tuple(allow), names=tuple(names))


def _network(entry: str) -> Network:
    try:
        network = ip_network(entry)
    except ValueError:
        network = None
    if network is None or "%" in entry:
        raise ConfigInvalid(f"egress allow list: {entry!r} is not a network such as 10.0.0.0/8")
    if network.prefixlen == 0:
        raise ConfigInvalid(f"egress allow list: {entry} is everything; name the networks")
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise ConfigInvalid(f"egress allow list: write {entry} as an IPv4 network")
    return network


def normalise(address: str) -> Address | None:
    """Read a literal address, an IPv4-mapped one as the IPv4 address that it reaches.

    Returns None for what is not an address and for one with a zone id.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        return None if parsed.scope_id is not None else parsed.ipv4_mapped or parsed
    return parsed


def covers(address: str, rules: EgressRules) -> bool:
    """Say whether the operator opened this address: any port, with or without TLS."""
    parsed = normalise(address)
    return parsed is not None and _opened(parsed, rules)


def may_connect(address: str, port: int, rules: EgressRules) -> bool:
    """Say whether a connection to a literal address and a port is permitted.

    Args:
        address: an IPv4 or IPv6 literal, in any spelling that the standard library reads.
        port: the TCP port.
        rules: what the operator opened.
    """
    parsed = normalise(address)
    if parsed is None:
        return False
    if isinstance(parsed, IPv6Address) and parsed in NAT64:
        translated = any(parsed in network for network in rules.allow)
        return translated and may_connect(str(_embedded(parsed)), port, rules)
    if _opened(parsed, rules):
        return True
    return port in PUBLIC_PORTS and _public(parsed) and parsed not in rules.own


def _opened(address: Address, rules: EgressRules) -> bool:
    if isinstance(address, IPv6Address) and address in NAT64:
        inside = any(address in network for network in rules.allow)
        return inside and _opened(_embedded(address), rules)
    if address in METADATA:
        return ip_network(address) in rules.allow
    return any(address in network for network in rules.allow)


def _embedded(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def _public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in DENIED_V4)
    return address in PUBLIC_V6 and not any(address in network for network in DENIED_V6)
