"""Custom headers: only what can do no harm leaves."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.errors import InvalidInput
from waypost.policy.headers import HEADERS_MAX, check, is_reserved

TOKEN = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer abc", "X-Api-Key": "k", "x-custom": ""},
        {"a" * 64: "v" * 4096},
        {"X-Tab": "a\tb c~!"},
        {f"x-{n}": "v" for n in range(HEADERS_MAX)},
    ],
)
def test_harmless_headers(headers: dict[str, str]) -> None:
    check(headers)


@pytest.mark.parametrize(
    "name",
    [
        "Host", "CONNECTION", "keep-alive", "Proxy-Authorization", "proxy-connection", "TE",
        "Trailer", "trailers", "Transfer-Encoding", "upgrade", "Content-Length",
        "content-encoding", "Content-Type", "expect", "date", "Cookie", "set-cookie", "via",
        "forwarded", "X-Forwarded-For", "x-forwarded-host", "x-real-ip", "Metadata",
        "Metadata-Flavor", "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds",
        "webhook-id", "Webhook-Signature", "svix-id", "ce-id", "signature", "signature-input",
        "content-digest", "User-Agent", "accept-encoding",
    ],
)  # fmt: skip
def test_reserved_names(name: str) -> None:
    assert is_reserved(name)
    with pytest.raises(InvalidInput) as refused:
        check({"x-fine": "v", name: "v"})
    assert refused.value.details == ((f"headers.{name}", "is a reserved header"),)


@pytest.mark.parametrize(
    "name", ["", "a b", "a:", "a\r\nb", "a\n", "é", "a\x00", "(a)", "a" * 65, "a/b", '"a"']
)
def test_malformed_names(name: str) -> None:
    with pytest.raises(InvalidInput, match="is not a header name"):
        check({name: "v"})


@pytest.mark.parametrize(
    "value", ["a\r\nb: c", "a\n", "\x00", "\x7f", "é", "\u2028", "\x0b", "v" * 4097]
)
def test_malformed_values(value: str) -> None:
    with pytest.raises(InvalidInput, match="visible ASCII"):
        check({"x": value})


def test_one_too_many() -> None:
    with pytest.raises(InvalidInput) as refused:
        check({f"x-{n}": "v" for n in range(HEADERS_MAX + 1)})
    assert refused.value.details[0][0] == "headers"


def test_the_same_name_twice() -> None:
    with pytest.raises(InvalidInput) as refused:
        check({"X-A": "1", "x-a": "2"})
    assert refused.value.details == (("headers.x-a", "is given twice"),)


def test_every_bad_header_is_named() -> None:
    with pytest.raises(InvalidInput) as refused:
        check({"Host": "x", "ok": "y", "a b": "z", "v": "\n"})
    assert [path for path, _ in refused.value.details] == [
        "headers.Host",
        "headers.a b",
        "headers.v",
    ]


@given(st.dictionaries(st.text(max_size=20) | st.text(TOKEN, min_size=1), st.text(max_size=20)))
def test_what_passes_is_one_line_each(headers: dict[str, str]) -> None:
    try:
        check(headers)
    except InvalidInput:
        return
    wire = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("ascii")
    lines = wire.split(b"\r\n")[:-1]
    assert len(lines) == len(headers)
    for line, name in zip(lines, headers, strict=True):
        assert line.partition(b":")[0].decode() == name
        assert set(name) <= set(TOKEN)
        assert not is_reserved(name)
