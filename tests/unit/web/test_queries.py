"""A struct says what a query may hold, and everything that is wrong is told at once."""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta
from starlette.requests import Request

from waypost.model.errors import InvalidInput
from waypost.web.queries import MicrosInQuery, Queries


class Colour(StrEnum):
    """Two of them."""

    RED = "red"
    BLUE = "blue"


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """One field of each type."""

    size: Annotated[int, Meta(ge=1, le=10)] = 5
    any_number: int | None = None
    flag: bool = True
    text: Annotated[str | None, Meta(description="Words.")] = None
    colour: Colour | None = None
    at: Annotated[MicrosInQuery, Meta(description="When.")] | None = None
    many: Annotated[tuple[str, ...], Meta(max_length=3)] = ()
    size_name: Literal["small", "large"] | None = None
    sides: tuple[Literal["left", "right"], ...] = ()
    short: Annotated[str, Meta(min_length=1, max_length=3)] | None = None


QUERIES = Queries(Form)


def request(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": [], "method": "GET"})


def test_what_is_absent_has_its_default() -> None:
    assert QUERIES.read(request("")) == Form()


def test_every_type_is_read() -> None:
    query = "size=10&any_number=-7&flag=false&text=&colour=blue&many=a,b&at=1970-01-01T00:00:01Z"
    assert QUERIES.read(request(query)) == Form(
        size=10,
        any_number=-7,
        flag=False,
        text="",
        colour=Colour.BLUE,
        many=("a", "b"),
        at=1_000_000,
    )


def test_literals_and_lengths_are_held_to() -> None:
    read = QUERIES.read(request("size_name=small&sides=left,right&short=abc"))
    assert (read.size_name, read.sides, read.short) == ("small", ("left", "right"), "abc")
    with pytest.raises(InvalidInput) as error:
        QUERIES.read(request("size_name=huge&sides=left,up&short=abcd"))
    assert [path for path, _ in error.value.details] == ["size_name", "sides", "short"]


def test_a_list_may_also_come_in_several_parameters() -> None:
    assert QUERIES.read(request("many=a&many=b")).many == ("a", "b")


@pytest.mark.parametrize("offset", ["%2B01:00", "+01:00"])
def test_a_moment_may_have_an_offset_with_a_bare_plus(offset: str) -> None:
    assert QUERIES.read(request(f"at=1970-01-01T01:00:00{offset}")).at == 0


@pytest.mark.parametrize(
    "query, field",
    [
        ("size=0", "size"),
        ("size=11", "size"),
        ("size=x", "size"),
        ("size=", "size"),
        ("size=1&size=2", "size"),
        ("flag=maybe", "flag"),
        ("colour=green", "colour"),
        ("colour=RED", "colour"),
        ("at=yesterday", "at"),
        ("at=2026-01-01T00:00:00", "at"),
        ("many=a,b,c,d", "many"),
        ("many=a,,b", "many"),
        ("other=1", "other"),
    ],
)
def test_what_is_wrong_is_refused_with_its_name(query: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        QUERIES.read(request(query))
    assert [path for path, _ in refused.value.details] == [field]


def test_everything_that_is_wrong_is_told_together() -> None:
    with pytest.raises(InvalidInput) as refused:
        QUERIES.read(request("size=0&flag=2&x=1"))
    assert [path for path, _ in refused.value.details] == ["size", "flag", "x"]


def test_a_form_that_no_query_can_hold_is_refused_when_it_is_made() -> None:
    class Bad(msgspec.Struct):
        nested: dict[str, str]

    with pytest.raises(TypeError):
        Queries(Bad)
