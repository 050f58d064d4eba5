"""Addresses: what is denied stays denied in every spelling."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from waypost.model.errors import ConfigInvalid
from waypost.policy.egress import (
    DENIED_V4,
    DENIED_V6,
    METADATA,
    NO_RULES,
    EgressRules,
    covers,
    may_connect,
    normalise,
    parse_allow,
)

NAT64 = parse_allow("64:ff9b::/96")

denied_v4 = st.sampled_from(DENIED_V4).flatmap(lambda block: st.ip_addresses(network=block))
public_v4 = st.ip_addresses(v=4).filter(lambda a: not any(a in block for block in DENIED_V4))


def embeddings(address: IPv4Address) -> list[str]:
    """Return the IPv6 addresses that carry an IPv4 address, and its spellings as numbers."""
    value = int(address)
    high, low = value >> 16, value & 0xFFFF
    a, b, c, d = address.packed
    return [
        f"::ffff:{address}",
        f"::ffff:{high:x}:{low:x}",
        f"::{address}",
        f"::ffff:0:{high:x}:{low:x}",
        f"64:ff9b::{high:x}:{low:x}",
        f"2002:{high:x}:{low:x}::1",
        f"::5efe:{high:x}:{low:x}",
        f"fe80::5efe:{high:x}:{low:x}",
        str(value),
        hex(value),
        oct(value),
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a:#x}.{b}.{c}.{d}",
        f"{a}.{value & 0xFFFFFF}",
        f"{a:03}.{b:03}.{c:03}.{d:03}",
    ]


@given(denied_v4)
def test_a_denied_address_is_denied_in_each_encoding(address: IPv4Address) -> None:
    assert not may_connect(str(address), 443, NO_RULES)
    for spelled in embeddings(address):
        # Ordinary decimals are one of the spellings where no number is short or zero-led.
        assert not may_connect(spelled, 443, NO_RULES), spelled
        assert not may_connect(spelled, 443, NAT64), spelled


@given(public_v4)
def test_a_public_ipv4_address_is_permitted(address: IPv4Address) -> None:
    assert may_connect(str(address), 443, NO_RULES)
    assert may_connect(str(address), 80, NO_RULES)
    assert may_connect(f"::ffff:{address}", 443, NO_RULES)
    assert not may_connect(str(address), 8443, NO_RULES)


@given(st.ip_addresses(v=4), st.booleans())
def test_nat64_is_judged_by_what_it_carries(address: IPv4Address, private: bool) -> None:
    opened = parse_allow("64:ff9b::/96 10.0.0.0/8") if private else NAT64
    carried = str(IPv6Address((0x64FF9B << 96) | int(address)))
    assert may_connect(carried, 443, opened) == may_connect(str(address), 443, opened)
    assert covers(carried, opened) == covers(str(address), opened)
    assert not may_connect(carried, 443, NO_RULES)


@given(st.ip_addresses())
def test_the_verdict_is_that_of_the_normal_form(address: IPv4Address | IPv6Address) -> None:
    normal = str(normalise(str(address)))
    assert may_connect(str(address), 443, NO_RULES) == may_connect(normal, 443, NO_RULES)


@given(st.integers(0, 2**128 - 1).filter(lambda value: value >> 125 != 1).map(IPv6Address))
def test_outside_of_the_public_block_nothing_is_permitted(address: IPv6Address) -> None:
    assume(address.ipv4_mapped is None)
    assert not may_connect(str(address), 443, NO_RULES)


@pytest.mark.parametrize("block", DENIED_V6)
def test_denied_parts_of_the_public_block(block: object) -> None:
    first = str(block).partition("/")[0]
    assert not may_connect(first, 443, NO_RULES)


@pytest.mark.parametrize("address", ["2606:4700::1111", "2a00:1450:4001::1", "2600::"])
def test_public_ipv6_addresses(address: str) -> None:
    assert may_connect(address, 443, NO_RULES)


@pytest.mark.parametrize(
    "address", ["", "localhost", "127.0.0.1:80", "[::1]", "fe80::1%lo", "2600::%1"]
)
def test_what_is_no_plain_address_is_refused(address: str) -> None:
    assert not may_connect(address, 443, parse_allow("fe80::/10 127.0.0.0/8"))
    assert normalise(address) is None


def test_an_opened_network_takes_any_port() -> None:
    opened = parse_allow("10.0.0.0/8, fd12::/16")
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd12::1"):
        assert may_connect(address, 5432, opened)
        assert covers(address, opened)
    for address in ("11.0.0.1", "fd13::1", "2600::"):
        assert not may_connect(address, 5432, opened)
        assert not covers(address, opened)


@pytest.mark.parametrize("address", sorted(map(str, METADATA)))
def test_metadata_is_opened_by_name_only(address: str) -> None:
    everything = "0.0.0.0/1 128.0.0.0/1 ::/1 8000::/1"
    assert not may_connect(address, 80, parse_allow(everything))
    assert not covers(address, parse_allow(everything))
    assert may_connect(address, 80, parse_allow(f"{everything} {address}"))


def test_own_addresses_are_denied_unless_opened() -> None:
    own = EgressRules(own=frozenset({ip_address("93.184.215.14")}))
    assert not may_connect("93.184.215.14", 443, own)
    assert not may_connect("::ffff:93.184.215.14", 443, own)
    opened = EgressRules(own=own.own, allow=parse_allow("93.184.215.0/24").allow)
    assert may_connect("93.184.215.14", 9000, opened)


def test_an_allow_list_takes_commas_blanks_and_names() -> None:
    rules = parse_allow(" 10.0.0.0/8,192.168.1.5\n::1  Corp.Example.com ")
    assert [str(network) for network in rules.allow] == ["10.0.0.0/8", "192.168.1.5/32", "::1/128"]
    assert rules.names == ("corp.example.com",)
    assert parse_allow("") == parse_allow(" , ") == NO_RULES


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0/0",
        "::/0",
        "10.0.0.0/8 0.0.0.0/0",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "localhost",
        "nonsense",
        "1.2.3",
        "*.example.com",
        "http://example.com",
        "::ffff:10.0.0.0/104",
        "fe80::1%lo",
    ],
)
def test_other_entries_are_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid):
        parse_allow(text)
