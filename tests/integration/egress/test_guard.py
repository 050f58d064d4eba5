"""The guard at real sockets: addresses in turn, whom was reached, and rebinding."""

import asyncio
import itertools
import socket
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.support.egress import LOOPBACK, ManualClock, Open, at, moved
from waypost.egress.guard import NOT_ALLOWED, Guard, Refused, is_own
from waypost.egress.resolver import KEPT_S, Resolver
from waypost.model.exchange import FailureKind
from waypost.policy.egress import NO_RULES, EgressRules, parse_allow
from waypost.policy.urls import Destination


def guard(
    rules: EgressRules = LOOPBACK, found: Sequence[str] = (), connect_s: float = 5.0
) -> Guard:
    loop = asyncio.get_running_loop()
    resolver = Resolver(loop, ManualClock(), lookup=lambda _host: found)
    return Guard(loop, rules, resolver, connect_s=connect_s)


async def connect(guarded: Guard, to: Destination) -> str:
    """Connect and return whom that reached."""
    with await guarded.connect(await guarded.addresses(to), to) as connected:
        return str(connected.getpeername()[0])


async def test_addresses_are_tried_in_turn(open_receiver: Open) -> None:
    receiver = await open_receiver(host="127.0.0.3")
    guarded = guard(found=["127.0.0.2", "::1", "127.0.0.3"])
    assert await connect(guarded, at(receiver, "a.example.com")) == "127.0.0.3"


async def test_a_silent_address_takes_only_its_share(open_receiver: Open) -> None:
    receiver = await open_receiver(host="127.0.0.3")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.2", receiver.port))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        guarded = guard(found=["127.0.0.2", "127.0.0.3"], connect_s=0.3)
        assert await connect(guarded, at(receiver, "a.example.com")) == "127.0.0.3"
        with pytest.raises(Refused) as refused:
            await connect(guard(connect_s=0.1), at(receiver, "127.0.0.2"))
        for filler in fillers:
            filler.close()
    assert refused.value.kind is FailureKind.TIMEOUT


async def test_one_denied_address_denies_the_name(open_receiver: Open) -> None:
    receiver = await open_receiver(host="127.0.0.2")
    for found in (["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "::1"]):
        with pytest.raises(Refused) as refused:
            await guard(parse_allow("127.0.0.2"), found).addresses(at(receiver, "a.example.com"))
        assert (refused.value.kind, refused.value.text) == (FailureKind.DENIED, NOT_ALLOWED)


async def test_whom_the_socket_reached_is_asked(
    open_receiver: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = await open_receiver(host="127.0.0.1")
    loop = asyncio.get_running_loop()
    sock_connect = loop.sock_connect

    class Diverted:
        """A loop whose connections end elsewhere."""

        time = loop.time

        async def sock_connect(self, connecting: socket.socket, address: tuple[str, int]) -> None:
            await sock_connect(connecting, ("127.0.0.1", address[1]))

    guarded = guard(parse_allow("127.0.0.2"))
    monkeypatch.setattr(guarded, "_loop", Diverted())
    with pytest.raises(Refused) as refused:
        await connect(guarded, at(receiver, "127.0.0.2"))
    assert refused.value.kind is FailureKind.DENIED


async def test_a_name_that_flips_reaches_only_what_was_vetted(open_receiver: Open) -> None:
    good = await open_receiver(host="127.0.0.2")
    canary = await open_receiver(host="127.0.0.1", port=good.port)
    loop, clock = asyncio.get_running_loop(), ManualClock()
    answers = itertools.cycle([["127.0.0.2"], ["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]])
    resolver = Resolver(loop, clock, lookup=lambda _host: next(answers))
    guarded = Guard(loop, parse_allow("127.0.0.2"), resolver)
    ends: Counter[str] = Counter()
    for _ in range(1000):
        try:
            ends[await connect(guarded, at(good, "a.example.com"))] += 1
        except Refused as refused:
            ends[refused.kind] += 1
        clock.at_s += KEPT_S
    assert ends == {"127.0.0.2": 334, FailureKind.DENIED: 666}
    assert canary.connections == 0


async def test_plain_http_leaves_only_to_opened_addresses(open_receiver: Open) -> None:
    receiver = await open_receiver()
    to = moved(at(receiver), host="93.184.215.14", port=80)
    with pytest.raises(Refused) as refused:
        await guard(NO_RULES).addresses(to)
    assert refused.value.kind is FailureKind.DENIED
    assert await guard(NO_RULES).addresses(moved(to, scheme="https")) == ["93.184.215.14"]
    assert await guard(parse_allow("93.184.215.0/24")).addresses(to) == ["93.184.215.14"]


def test_own_addresses_are_known_without_a_list() -> None:
    assert is_own("127.0.0.1")
    assert is_own("::1")
    assert not is_own("192.0.2.1")
    assert not is_own("2001:db8::1")
