"""Server-side request forgery: 103 ways to reach what must not be reached, and none that does.

Canaries listen on loopback, IPv4 and IPv6. Every vector is tried twice: as a URL that is set and
then sent to, and, where reading the URL refuses it, as a destination that was never checked, with
the host as it stands in the URL. The ports of the canaries count as public and everything is sent
as https, so that it is the address alone that is refused. A canary must never see a connection.
"""

import asyncio
import itertools
import re
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from ipaddress import ip_address

import pytest

from tests.support.egress import (
    Make,
    ManualClock,
    Open,
    Receiver,
    answer,
    at,
    failure,
    moved,
    reply,
)
from waypost.egress import guard
from waypost.egress.resolver import KEPT_S, Resolver, system_lookup
from waypost.egress.transport import Transport
from waypost.model.errors import InvalidInput
from waypost.model.exchange import FailureKind
from waypost.policy import egress, urls
from waypost.policy.egress import NO_RULES, PUBLIC_PORTS, EgressRules, parse_allow
from waypost.policy.urls import Destination, check, parse

METADATA = "169.254.169.254"

# Number of the vector: the URLs that it is made of.
LITERALS: dict[int, list[str]] = {
    1: ["http://127.0.0.1/"],
    2: ["http://127.255.255.254/"],
    3: ["http://0.0.0.0/"],
    4: ["http://0/"],
    5: ["http://00.0.0.0/"],
    6: ["http://0x0/"],
    7: ["http://127.1/"],
    8: ["http://127.0.1/"],
    9: ["http://2130706433/"],
    10: ["http://0x7f000001/"],
    11: ["http://0x7f.1/"],
    12: ["http://017700000001/"],
    13: ["http://0177.0.0.1/"],
    14: ["http://0177.0x0.0.1/"],
    15: ["http://127.000.000.001/"],
    16: ["http://127.0.0.01/"],
    17: ["http://3232235521/"],
    18: ["http://①②⑦.⓪.⓪.①/"],
    19: ["http://127。0。0。1/"],
    20: ["http://\uff11\uff12\uff17.0.0.1/"],
    21: ["http://127.0.0.1./"],
    22: ["http://127.0.0.1%00.example.com/", "http://127.0.0.1\x00.example.com/"],
    23: ["http://10.0.0.1/"],
    24: ["http://172.16.0.1/"],
    25: ["http://172.31.255.255/"],
    26: ["http://192.168.1.1/"],
    27: [f"http://{METADATA}/latest/meta-data/"],
    28: ["http://169.254.170.2/"],
    29: ["http://100.64.0.1/"],
    30: ["http://100.100.100.200/"],
    31: ["http://192.0.0.192/"],
    32: ["http://168.63.129.16/"],
    33: ["http://198.18.0.1/"],
    34: ["http://192.0.2.1/", "http://198.51.100.1/", "http://203.0.113.1/"],
    35: ["http://192.88.99.1/"],
    36: ["http://224.0.0.1/", "http://239.255.255.250/"],
    37: ["http://240.0.0.1/"],
    38: ["http://255.255.255.255/"],
    39: ["http://[::1]/"],
    40: ["http://[::]/"],
    41: ["http://[0:0:0:0:0:0:0:1]/"],
    42: ["http://[::ffff:127.0.0.1]/"],
    43: ["http://[::ffff:7f00:1]/"],
    44: ["http://[::ffff:a9fe:a9fe]/"],
    45: ["http://[::127.0.0.1]/", "http://[::7f00:1]/"],
    46: ["http://[::ffff:0:7f00:1]/"],
    47: ["http://[::5efe:7f00:1]/"],
    48: ["http://[64:ff9b::7f00:1]/"],
    49: ["http://[64:ff9b::a9fe:a9fe]/"],
    50: ["http://[64:ff9b:1::1]/"],
    51: ["http://[2002:7f00:1::1]/"],
    52: ["http://[2002:a9fe:a9fe::1]/"],
    53: ["http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/"],
    54: ["http://[fc00::1]/"],
    55: ["http://[fd00:ec2::254]/"],
    56: ["http://[fe80::1]/", "http://[fe80::1%25lo]/", "http://[fe80::1%lo]/"],
    57: ["http://[fec0::1]/"],
    58: ["http://[ff02::1]/"],
    59: ["http://[100::1]/"],
    60: ["http://[5f00::1]/"],
    61: ["http://[2001:db8::1]/", "http://[3fff::1]/"],
    62: ["http://[127.0.0.1]/", "http://[v1.127.0.0.1]/", "http://::1/"],
}
NAMES: dict[int, list[str]] = {
    63: ["http://localhost/", "http://LOCALHOST/", "http://localhost./"],
    64: ["http://loc\u00adalhost/"],
    65: ["http://ⓛocalhost/"],
    66: ["http://ip6-localhost/", "http://localhost.localdomain/"],
    67: ["http://127.0.0.1.nip.io/", "http://169.254.169.254.nip.io/"],
    68: ["http://alias.example.com/"],
    69: ["http://private.example.com/"],
    70: ["http://mixed.example.com/"],
    71: ["http://robin.example.com/"],
    74: [
        "http://metadata.google.internal/",
        "http://db/",
        "http://postgres/",
        "http://kubernetes.default.svc/",
    ],
}
SYNTAX: dict[int, list[str]] = {
    76: ["http://example.com@127.0.0.1/"],
    77: ["http://127.0.0.1:80@example.com/"],
    78: ["http://example.com\\@127.0.0.1/"],
    79: ["http://127.0.0.1\\@example.com/"],
    80: ["http://127.0.0.1#@example.com/"],
    81: ["http://127.0.0.1?@example.com/"],
    82: ["http://a:b@c:d@127.0.0.1/"],
    83: ["http://example.com:80:80/"],
    84: ["http://%31%32%37.0.0.1/"],
    85: [
        f"{a}http://127.0.0.1/{b}"
        for a in ("", " ", "\t", "\r", "\n")
        for b in (" ", "\t", "\r", "\n")
    ]
    + ["http://127.0.0.1\r\nhost: x/", "http://127.0.0\t.1/", "ht\ntp://127.0.0.1/"],
    86: ["//127.0.0.1/", "http:127.0.0.1/", "http:///127.0.0.1/", "http:/127.0.0.1/"],
    87: ["http://127.0.0.1;x.example.com/"],
    88: ["http://[::1]x/", "http://x[::1]/"],
    89: ["HtTp://127.1/"],
    90: ["file:///etc/passwd"],
    91: ["gopher://127.0.0.1:6379/_INFO"],
    92: [
        "ftp://127.0.0.1/",
        "dict://127.0.0.1:11211/",
        "ldap://127.0.0.1/",
        "jar:http://127.0.0.1/!/",
        "data:text/plain,x",
        "unix:///var/run/docker.sock",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    ],
    98: ["https://{host}/", "https://{{ host }}/", "https://${HOST}/", "https://%HOST%/"],
}
# What names resolve to, as a name server or the hosts file might say.
FOUND: dict[str, list[str]] = {
    "localhost": ["127.0.0.1", "::1"],
    "ip6-localhost": ["::1"],
    "localhost.localdomain": ["127.0.0.1"],
    "127.0.0.1.nip.io": ["127.0.0.1"],
    "169.254.169.254.nip.io": [METADATA],
    "alias.example.com": ["127.0.0.1"],
    "private.example.com": ["10.0.0.5"],
    "mixed.example.com": ["127.0.0.2", "::1"],
    "robin.example.com": ["127.0.0.2", "127.0.0.1"],
    "metadata.google.internal": [METADATA],
    "db": ["127.0.0.1"],
    "postgres": ["::1"],
    "kubernetes.default.svc": ["127.0.0.1"],
}
CAN_BE_PUBLIC = {67, 68, 69, 70, 71}
NEIGHBOUR = parse_allow("127.0.0.2")

Canaries = list[Receiver]


def lookup(host: str) -> Sequence[str]:
    """Answer from the table, else as the system reads numbers: generously."""
    if host in FOUND:
        return FOUND[host]
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(address[0]) for *_, address in found]


@pytest.fixture
async def canaries(open_receiver: Open, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Canaries]:
    """Listeners that must stay alone, on ports that count as public."""
    first = await open_receiver()
    second = await open_receiver(host="::1")
    ports = PUBLIC_PORTS | {first.port, second.port}
    for module in (egress, urls):
        monkeypatch.setattr(module, "PUBLIC_PORTS", ports)
    # Own addresses are refused by yet another rule; these tests are about the lists.
    monkeypatch.setattr(guard, "is_own", lambda _address: False)
    yield [first, second]
    assert [canary.connections for canary in (first, second)] == [0, 0]


@pytest.fixture
async def guarded(make_transport: Make) -> Transport:
    """A transport that may reach the public internet and 127.0.0.2, and finds `FOUND`."""
    resolver = Resolver(asyncio.get_running_loop(), ManualClock(), lookup=lookup)
    return make_transport(rules=NEIGHBOUR, resolver=resolver)


def destinations(url: str, canaries: Canaries) -> Iterable[Destination]:
    """Yield where a URL leads, as it is read or else by its raw host, at each canary's port."""
    try:
        to = parse(url)
    except InvalidInput:
        host = re.sub(r"^[^/]*:?//(?:[^/]*@)?|[/?#\\;].*$|[\[\]]", "", url, flags=re.DOTALL)
        to = Destination(scheme="https", host=host, port=443, target=b"/", authority=b"x")
    for canary in canaries:
        yield moved(to, scheme="https", port=canary.port)


async def assert_unreachable(transport: Transport, url: str, canaries: Canaries) -> None:
    for to in destinations(url, canaries):
        end = await failure(transport, to)
        assert end.kind in {FailureKind.DENIED, FailureKind.RESOLVE}, (url, to, end)
        if end.kind is FailureKind.DENIED:
            assert end.text == guard.NOT_ALLOWED


@pytest.mark.parametrize("number", [*LITERALS, *NAMES, *SYNTAX])
async def test_vector(number: int, guarded: Transport, canaries: Canaries) -> None:
    for url in (LITERALS | NAMES | SYNTAX)[number]:
        for spelled in (url, url.replace("http:", "https:")):
            if number not in CAN_BE_PUBLIC:
                with pytest.raises(InvalidInput) as refused:
                    check(spelled, NO_RULES)
                assert [path for path, _reason in refused.value.details] == ["url"]
            await assert_unreachable(guarded, spelled, canaries)


async def test_the_canaries_can_be_reached(make_transport: Make, open_receiver: Open) -> None:
    for host, allow in (("127.0.0.1", "127.0.0.1"), ("::1", "::1")):
        canary = await open_receiver(host=host)
        transport = make_transport(rules=parse_allow(allow))
        await reply(transport, moved(at(canary), host=host))
        assert canary.connections == 1


@pytest.mark.parametrize("number, turns", [(72, 2), (73, 20)])
async def test_vector_rebinding(
    number: int, turns: int, make_transport: Make, open_receiver: Open, canaries: Canaries
) -> None:
    good = await open_receiver(host="127.0.0.2", port=canaries[0].port)
    answers = itertools.cycle([["127.0.0.2"], ["127.0.0.1"]])
    clock = ManualClock()
    resolver = Resolver(asyncio.get_running_loop(), clock, lookup=lambda _host: next(answers))
    transport = make_transport(rules=NEIGHBOUR, clock=clock, resolver=resolver)
    to = at(good, "rebinding.example.com")
    for turn in range(turns):
        if turn % 2 == 0:
            await reply(transport, to)
        else:
            assert (await failure(transport, to)).kind is FailureKind.DENIED
        clock.at_s += KEPT_S
    assert good.connections == turns // 2


async def test_vector_75(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getaddrinfo(host: str, *_args: object, **_how: object) -> list[object]:
        asked.append(host)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    system_lookup("internal.example.com")
    assert asked == ["internal.example.com."]
    with pytest.raises(InvalidInput):
        check("https://internal/", NO_RULES)


@pytest.mark.parametrize(
    "number, status, headers",
    [
        (93, 302, {"location": f"http://{METADATA}/"}),
        (94, 307, {"location": "http://127.0.0.1:{port}/"}),
        (94, 308, {"location": "http://127.0.0.1:{port}/"}),
        (95, 200, {"refresh": "0; url=http://127.0.0.1:{port}/"}),
        (96, 200, {"alt_svc": 'h2="127.0.0.1:{port}"; ma=86400'}),
        (103, 201, {"location": "http://127.0.0.1:{port}/"}),
    ],
)
async def test_vector_in_an_answer(
    number: int,
    status: int,
    headers: dict[str, str],
    guarded: Transport,
    open_receiver: Open,
    canaries: Canaries,
) -> None:
    pointing = {name: value.format(port=canaries[0].port) for name, value in headers.items()}
    page = b'<meta http-equiv="refresh" content="0; url=http://127.0.0.1:%d/">' % canaries[0].port
    receiver = await open_receiver(host="127.0.0.2", answers=[answer(status, page, **pointing)])
    for _ in range(2):
        assert (await reply(guarded, at(receiver, "127.0.0.2"))).status == status
    assert len(receiver.requests) == 2


async def test_vector_97(guarded: Transport, open_receiver: Open, canaries: Canaries) -> None:
    receiver = await open_receiver(host="127.0.0.2", port=canaries[0].port)
    await reply(guarded, at(receiver, "127.0.0.2"))
    changed = moved(at(receiver, "127.0.0.2"), host="127.0.0.1")
    assert (await failure(guarded, changed)).kind is FailureKind.DENIED


async def test_vector_99(
    guarded: Transport, open_receiver: Open, canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        for spelled in (name, name.lower()):
            monkeypatch.setenv(spelled, f"http://127.0.0.1:{canaries[0].port}")
    receiver = await open_receiver(host="127.0.0.2")
    assert (await reply(guarded, at(receiver, "127.0.0.2"))).status == 200


@pytest.mark.parametrize("port", [22, 25, 6379, 8080])
async def test_vector_100(port: int, make_transport: Make) -> None:
    transport = make_transport(rules=NO_RULES)
    to = moved(parse("https://93.184.215.14/"), port=port)
    assert (await failure(transport, to)).kind is FailureKind.DENIED
    with pytest.raises(InvalidInput):
        check(f"https://93.184.215.14:{port}/", NO_RULES)


async def test_vector_101(make_transport: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    public = "93.184.215.14"
    listed = EgressRules(own=frozenset({ip_address(public)}))
    to = parse(f"https://{public}/")
    assert (await failure(make_transport(rules=listed), to)).kind is FailureKind.DENIED
    # An interface of this machine, as the kernel knows it, on no list at all.
    monkeypatch.setattr(guard, "is_own", lambda address: address == public)
    assert (await failure(make_transport(rules=NO_RULES), to)).kind is FailureKind.DENIED


def test_every_vector_is_here() -> None:
    elsewhere = {
        72, 73,  # test_vector_rebinding
        75, 97, 99, 100, 101,
        93, 94, 95, 96, 103,  # test_vector_in_an_answer
        102,  # test_tls.py
    }  # fmt: skip
    assert set(LITERALS) | set(NAMES) | set(SYNTAX) | elsewhere == set(range(1, 104))
