"""Vetting without connecting."""

import asyncio

import pytest

from tests.support.egress import ManualClock
from waypost.egress import guard as module
from waypost.egress.guard import NOT_ALLOWED, Guard, Refused
from waypost.egress.resolver import Resolver
from waypost.model.exchange import FailureKind
from waypost.policy.egress import NO_RULES, EgressRules, parse_allow
from waypost.policy.urls import parse

PUBLIC = "93.184.215.14"


def guard(found: list[str], rules: EgressRules = NO_RULES) -> Guard:
    def lookup(host: str) -> list[str]:
        assert host == "a.example.com", "a literal address was resolved"
        return found

    loop = asyncio.get_running_loop()
    return Guard(loop, rules, Resolver(loop, ManualClock(), lookup=lookup))


async def test_public_addresses_pass_in_their_normal_form() -> None:
    guarded = guard([PUBLIC, f"::ffff:{PUBLIC}", "2606:4700:0::1111"])
    found = await guarded.addresses(parse("https://a.example.com/"))
    assert found == [PUBLIC, PUBLIC, "2606:4700::1111"]


async def test_literals_are_not_resolved() -> None:
    assert await guard([]).addresses(parse(f"https://{PUBLIC}/")) == [PUBLIC]


@pytest.mark.parametrize("bad", ["10.0.0.1", "::1", "fe80::1%eth0", "::ffff:127.0.0.1", "nonsense"])
async def test_any_denied_address_denies_all(bad: str) -> None:
    for found in ([bad], [PUBLIC, bad], [bad, PUBLIC]):
        with pytest.raises(Refused) as refused:
            await guard(found).addresses(parse("https://a.example.com/"))
        assert refused.value.kind is FailureKind.DENIED
        assert refused.value.text == NOT_ALLOWED
        assert bad not in refused.value.text


async def test_no_address_at_all() -> None:
    with pytest.raises(Refused) as refused:
        await guard([]).addresses(parse("https://a.example.com/"))
    assert refused.value.kind is FailureKind.RESOLVE


async def test_own_addresses_are_denied_unless_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_own", lambda _address: True)
    to = parse(f"https://{PUBLIC}/")
    with pytest.raises(Refused):
        await guard([]).addresses(to)
    assert await guard([], parse_allow(PUBLIC)).addresses(to) == [PUBLIC]
