from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from waypost.model.errors import InvalidInput, PayloadTooLarge
from waypost.web.errors import UnsupportedMediaType
from waypost.web.requests import Query, parse_json, parse_time_us, read_body, read_json


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    size: int = 0


class Form(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner
    metadata: dict[str, str] = {}
    events: list[Inner] = []
    numbers: dict[int, str] = {}


def request(body: bytes = b"", query: str = "", **headers: str) -> Request:
    parts = [body[begin : begin + 10] for begin in range(0, len(body), 10)] or [b""]
    messages = [
        {"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts
    ]

    async def receive() -> Any:
        return messages.pop(0)

    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "headers": fields, "query_string": query.encode(), "method": "POST"}
    return Request(scope, receive)


async def test_a_body_is_bounded_with_and_without_a_length() -> None:
    assert await read_body(request(b"x" * 25), 25) == b"x" * 25
    with pytest.raises(PayloadTooLarge):
        await read_body(request(b"x" * 26), 25)
    with pytest.raises(PayloadTooLarge):
        await read_body(request(content_length="26"), 25)


GOOD = b'{"inner": {"type": "a"}}'


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "Application/JSON; charset=UTF-8",
        'application/json;charset="utf-8"',
        "application/cloudevents+json",
    ],
)
async def test_json_is_read(content_type: str | None) -> None:
    headers = {"content_type": content_type} if content_type else {}
    assert await read_json(request(GOOD, **headers), Form, 100) == Form(Inner("a"))


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "application/jsonx"},
        {"content_type": ""},
        {"content_type": "application/json; charset=utf-16"},
        {"content_encoding": "gzip"},
    ],
)
async def test_other_types_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(UnsupportedMediaType):
        await read_json(request(GOOD, **headers), Form, 100)


async def test_no_body_is_wrong_unless_it_stands_for_something() -> None:
    with pytest.raises(InvalidInput, match="empty"):
        await read_json(request(), Form, 100)
    nothing = Form(Inner("none"))
    assert await read_json(request(), Form, 100, when_empty=nothing) is nothing


@pytest.mark.parametrize(
    "body,path,message",
    [
        (b"{}", "inner", "Required"),
        (b"[]", "", "Expected `object`, got `array`"),
        (b'{"inner": {}}', "inner.type", "Required"),
        (b'{"inner": {"type": 1}}', "inner.type", "Expected `str`, got `int`"),
        (b'{"inner": {"type": "a", "b": 1}}', "inner.b", "Unknown field"),
        (b'{"c": 1}', "c", "Unknown field"),
        (
            b'{"inner": {"type": "a"}, "events": [{"type": "a"}, {"type": null}]}',
            "events[1].type",
            "Expected `str`, got `null`",
        ),
        (
            b'{"inner": {"type": "a"}, "metadata": {"a": 1}}',
            "metadata",
            "Expected `str`, got `int`",
        ),
        (
            b'{"inner": {"type": "a"}, "numbers": {"a": "b"}}',
            "numbers",
            "Expected `int`, got `str` as a key",
        ),
        (
            b'{"inner": {"type": "a", "size": %s}}' % (b"9" * 5000),
            "inner.size",
            "Integer value out of range",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(body: bytes, path: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_json(body, Form)
    assert caught.value.details == ((path, message),)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"inner": NaN}',
        b'{"inner": {"type": "\xff"}}',
        b'{"inner": {"type": "\\ud800"}}',
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"inner": {"type": "a"}} x',
    ],
)
def test_what_is_not_json_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="not JSON"):
        parse_json(body, Form)


def test_depth_is_bounded() -> None:
    with pytest.raises(InvalidInput, match="deeply"):
        parse_json(b"[" * 100_000, Any)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_form_or_invalid(body: bytes) -> None:
    with suppress(InvalidInput):
        assert isinstance(parse_json(body, Form), Form)


@pytest.mark.parametrize(
    "text,time_us",
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01.5z", 1_500_000),
        ("1970-01-01 00:00:00.000001Z", 1),
        ("1970-01-01T00:00:00.123456789Z", 123_456),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T01:00:00 01:00", 0),
        ("1969-12-31T23:30:00-00:30", 0),
        ("2024-02-29T12:00:00.000007+00:00", 1_709_208_000_000_007),
    ],
)
def test_times_are_microseconds(text: str, time_us: int) -> None:
    assert parse_time_us(text) == time_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "0",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00Z",
        "1970-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:00:60Z",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+00:60",
        "1970-01-01T00:00:00+0000",
        "1970-01-01T00:00:00Z\n",
        "٠٩٧٠-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-24:00",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        parse_time_us(text)


@given(st.integers(-62_135_500_000_000_000, 253_402_200_000_000_000), st.integers(-1_439, 1_439))
def test_a_time_means_what_it_says(time_us: int, offset_minutes: int) -> None:
    zone = timezone(timedelta(minutes=offset_minutes))
    when = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).astimezone(zone)
    assert parse_time_us(when.isoformat()) == time_us


def test_a_query_is_read_by_type() -> None:
    text = "a=x&n=5&b=TRUE&c=0&t=1970-01-01T00%3A00%3A01Z&u=1970-01-01T00:00:00+00:00&l=p,q&l=r&k=z"
    with Query(request(query=text)) as query:
        assert query.text("a") == "x"
        assert query.integer("n", 1, 5) == 5
        assert query.boolean("b") is True
        assert query.boolean("c") is False
        assert query.time_us("t") == 1_000_000
        assert query.time_us("u") == 0
        assert query.texts("l", ("p", "q", "r")) == ("p", "q", "r")
        assert query.text("k", ("z", "y")) == "z"


def test_what_is_absent_is_nothing() -> None:
    with Query(request()) as query:
        assert query.text("a") is None
        assert query.integer("n", 1, 5) is None
        assert query.boolean("b") is None
        assert query.time_us("t") is None
        assert query.texts("l") == ()


def read_badly(query: Query) -> None:
    for name in "nmof":
        query.integer(name, 1, 5)
    query.boolean("b")
    query.time_us("t")
    query.text("c", ("yes", "or"))
    query.texts("l")
    query.texts("k", ("r",))
    query.texts("w", most=1)
    query.text("d")


def test_all_that_is_wrong_with_a_query_is_told() -> None:
    text = "n=6&m=x&o=-1&f=1.0&b=yes&t=soon&c=no&l=p,,q&k=s&w=1,2&d=1&d=2&z=1&y="
    with pytest.raises(InvalidInput) as caught, Query(request(query=text)) as query:
        read_badly(query)
    assert caught.value.details == (
        *((name, "Must be a whole number from 1 to 5") for name in "nmof"),
        ("b", "Must be true or false"),
        ("t", "Must be a time such as 2030-01-31T12:00:00Z"),
        ("c", "Must be one of yes, or"),
        ("l", "Must not hold an empty value"),
        ("k", "Must be among r"),
        ("w", "Must be at most 1 values"),
        ("d", "Must be given once"),
        ("y", "Unknown parameter"),
        ("z", "Unknown parameter"),
    )


def test_an_error_inside_the_block_comes_through() -> None:
    with pytest.raises(LookupError), Query(request(query="a=1")):
        raise LookupError
