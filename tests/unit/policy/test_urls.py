"""URLs: one reading, or none."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.errors import InvalidInput
from waypost.policy.egress import NO_RULES, parse_allow
from waypost.policy.urls import Destination, check, parse

LOOPBACK = parse_allow("127.0.0.0/8 ::1")
PRIVATE = parse_allow("10.0.0.0/8 corp.example.com")


@pytest.mark.parametrize(
    "url, expected",
    [
        ("https://example.com", ("https", "example.com", 443, b"/", b"example.com")),
        ("HTTPS://Example.COM./", ("https", "example.com", 443, b"/", b"example.com")),
        (
            "http://example.com:8080/a?b=c",
            ("http", "example.com", 8080, b"/a?b=c", b"example.com:8080"),
        ),
        ("https://example.com:443?x", ("https", "example.com", 443, b"/?x", b"example.com")),
        (
            "https://example.com/a//b/../%2e?q=%20&r=@:",
            ("https", "example.com", 443, b"/a//b/../%2e?q=%20&r=@:", b"example.com"),
        ),
        (
            "https://bücher.example/",
            ("https", "xn--bcher-kva.example", 443, b"/", b"xn--bcher-kva.example"),
        ),
        (
            "https://BÜCHER.example/",
            ("https", "xn--bcher-kva.example", 443, b"/", b"xn--bcher-kva.example"),
        ),
        ("https://faß.example/", ("https", "xn--fa-hia.example", 443, b"/", b"xn--fa-hia.example")),
        ("http://my_service:9000/x", ("http", "my_service", 9000, b"/x", b"my_service:9000")),
        ("https://93.184.215.14/", ("https", "93.184.215.14", 443, b"/", b"93.184.215.14")),
        (
            "https://[2606:4700:0::1111]/",
            ("https", "2606:4700::1111", 443, b"/", b"[2606:4700::1111]"),
        ),
        ("http://[::1]:9000/", ("http", "::1", 9000, b"/", b"[::1]:9000")),
        ("http://[::ffff:127.0.0.1]/", ("http", "127.0.0.1", 80, b"/", b"127.0.0.1")),
    ],
)
def test_a_url_is_read_into_its_parts(
    url: str, expected: tuple[str, str, int, bytes, bytes]
) -> None:
    scheme, host, port, target, authority = expected
    assert parse(url) == Destination(scheme, host, port, target, authority)


@pytest.mark.parametrize(
    "url, reason",
    [
        ("", "must start with https://"),
        ("example.com", "must start with https://"),
        ("//example.com/", "must start with https://"),
        ("ftp://example.com/", "must start with https://"),
        ("https:/example.com/", "must start with https://"),
        ("https://", "malformed host name"),
        ("https:///path", "malformed host name"),
        ("https://.example.com/", "malformed host name"),
        ("https://a..b/", "malformed host name"),
        ("https://example.com../", "malformed host name"),
        ("https://-a.example.com/", "malformed host name"),
        ("https://a-.example.com/", "malformed host name"),
        (f"https://{'a' * 64}.example.com/", "malformed host name"),
        ("https://a%2eb/", "malformed host name"),
        ("https://a;b/", "malformed host name"),
        ("https://{host}/", "malformed host name"),
        (f"https://{'a.' * 127}aa/", "too long a host name"),
        ("https://user@example.com/", "user name or password"),
        ("https://user:secret@example.com/", "user name or password"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com/#", "fragment"),
        ("https://example.com/\\x", "backslashes"),
        ("https://example.com/a b", "blanks"),
        ("https://example.com/\n", "blanks"),
        ("https://example.com/\u2028", "blanks"),
        ("https://exa\u200bmple.com/", "blanks"),
        ("https://example.com/é", "percent-encoded"),
        ("https://example.com:/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:0443/", "port"),
        ("https://example.com:+443/", "port"),
        ("https://example.com:٤٤٣/", "port"),
        ("https://example.com:443:443/", "port"),
        ("https://[::1/", "IPv6"),
        ("https://[::1]x/", "IPv6"),
        ("https://[::1%25lo]/", "IPv6"),
        ("https://[127.0.0.1]/", "IPv6"),
        ("https://[]/", "IPv6"),
        ("https://::1/", "host or port"),
        ("https://x[::1]/", "host or port"),
        ("https://127.1/", "four decimal numbers"),
        ("https://0x7f.1/", "four decimal numbers"),
        ("https://2130706433/", "four decimal numbers"),
        ("https://0177.0.0.1/", "four decimal numbers"),
        ("https://127.0.0.1./", "four decimal numbers"),
        ("https://256.1.1.1/", "four decimal numbers"),
        ("https://a.b.0x/", "four decimal numbers"),
        ("https://\u2460\u2461\u2466.0.0.1/", "disguised"),
        ("https://\uff11\uff12\uff17.0.0.1/", "disguised"),
        ("https://127\u30020\u30020\u30021/", "disguised"),
        ("https://loc\u00adalhost/", "disguised"),
        ("https://\u24dbocalhost/", "disguised"),
        ("https://b\u00fccher\uff0eexample/", "disguised"),
        ("https://\u2488com/", "host name"),
    ],
)
def test_odd_forms_are_refused(url: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(url)
    ((path, text),) = refused.value.details
    assert path == "url"
    assert reason in text
    assert "secret" not in text


def test_the_length_is_limited() -> None:
    longest = "https://example.com/" + "a" * (2048 - 20)
    assert len(parse(longest).target) == 2048 - 19
    with pytest.raises(InvalidInput):
        parse(longest + "a")


ODD = "\u2460\u3002\uff0e\u00adÜß\x00"


@given(st.text(string.printable + ODD, max_size=30), st.sampled_from(["", "https://"]))
def test_a_reading_is_stable_and_plain(text: str, start: str) -> None:
    try:
        to = parse(start + text)
    except InvalidInput:
        return
    shown = to.authority.decode("ascii")
    assert parse(f"{to.scheme}://{shown}{to.target.decode('ascii')}") == to
    assert to.host == to.host.lower()
    assert to.target.startswith(b"/")
    assert not set(shown + to.target.decode()) & set(" \t\r\n\\#")
    assert 1 <= to.port <= 65535


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://example.com:80/",
        "https://93.184.215.14/",
        "https://[2606:4700::1111]/",
    ],
)
def test_public_urls_may_be_set(url: str) -> None:
    assert check(url, NO_RULES) == parse(url)


@pytest.mark.parametrize(
    "url, reason",
    [
        ("http://example.com/", "https"),
        ("https://example.com:8443/", "port"),
        ("https://127.0.0.1/", "public"),
        ("https://10.0.0.1/", "public"),
        ("https://[::1]/", "public"),
        ("https://localhost/", "public"),
        ("https://app.localhost/", "public"),
        ("https://db/", "public"),
        ("https://printer.local/", "public"),
        ("https://x.internal/", "public"),
        ("https://nas.home.arpa/", "public"),
        ("https://web.default.svc/", "public"),
        ("https://web.default.svc.cluster.local/", "public"),
        ("http://localhost:9000/", "https"),
    ],
)
def test_inner_urls_may_not(url: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        check(url, NO_RULES)


@pytest.mark.parametrize(
    "url, text",
    [
        ("http://localhost:9000/", "127.0.0.0/8"),
        ("http://localhost:9000/", "::1"),
        ("http://app.localhost/", "127.0.0.0/8"),
        ("http://127.0.0.1:9000/", "127.0.0.0/8"),
        ("http://[::1]:9000/", "::1"),
        ("http://10.1.2.3:8080/", "10.0.0.0/8"),
        ("http://receiver:8080/", "172.16.0.0/12"),
        ("http://web.default.svc:8080/", "10.0.0.0/8"),
        ("http://corp.example.com:8080/", "10.0.0.0/8 corp.example.com"),
        ("http://hooks.corp.example.com:8080/", "10.0.0.0/8 corp.example.com"),
    ],
)
def test_what_the_operator_opened_may_be_set(url: str, text: str) -> None:
    assert check(url, parse_allow(text)) == parse(url)


@pytest.mark.parametrize(
    "url, text",
    [
        ("http://localhost:9000/", "10.0.0.0/8"),
        ("http://127.0.0.1:9000/", "10.0.0.0/8"),
        ("http://example.com/", "127.0.0.0/8"),
        ("https://example.com:9000/", "127.0.0.0/8"),
        ("http://nocorp.example.com/", "corp.example.com"),
        ("http://receiver:8080/", "corp.example.com"),
        ("http://169.254.169.254/", "169.254.0.0/16"),
    ],
)
def test_what_lies_beside_it_may_not(url: str, text: str) -> None:
    with pytest.raises(InvalidInput):
        check(url, parse_allow(text))
