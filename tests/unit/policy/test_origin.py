"""Of the request that brings an event nothing is kept but what filters read, and no secret."""

import pytest

from waypost.model.event import Attributes
from waypost.policy.events import Draft
from waypost.policy.filter_syntax import NOTHING, SECRET_HEADERS, Reads
from waypost.policy.origin import Origin, with_origin

ORIGIN = Origin(
    [
        (b"authorization", b"key"),
        (b"cookie", b"a=b"),
        (b"x-tenant", b"t\xfc"),
        (b"via", b"one"),
        (b"via", b"two, three"),
        (b"user-agent", b"u"),
    ],
    "/v1/events",
)
PLAIN = Draft("a", b"1")


def kept(*names: str, path: bool = False) -> Attributes:
    return with_origin(PLAIN, ORIGIN, Reads(frozenset(names), path=path)).attributes


def test_what_is_not_read_is_not_kept() -> None:
    assert with_origin(PLAIN, ORIGIN, NOTHING) is PLAIN
    assert with_origin(PLAIN, ORIGIN, Reads(frozenset({"x-other"}))) is PLAIN
    assert with_origin(PLAIN, ORIGIN, Reads(query=frozenset({"q"}))) is PLAIN


def test_what_is_read_is_kept() -> None:
    assert kept("x-tenant", "x-other") == Attributes(headers={"x-tenant": "tü"})
    assert kept(path=True) == Attributes(path="/v1/events")
    assert kept("via", path=True) == Attributes(
        headers={"via": "one, two, three"}, path="/v1/events"
    )


@pytest.mark.parametrize("name", sorted(SECRET_HEADERS))
def test_a_secret_is_never_kept(name: str) -> None:
    origin = Origin([(name.encode(), b"s3cret")], "/")
    assert with_origin(PLAIN, origin, Reads(frozenset({name}))) is PLAIN


def test_the_rest_of_the_event_stays() -> None:
    draft = Draft("a", b"1", Attributes(owner="o", idempotency_key="k"), b"f" * 16)
    found = with_origin(draft, ORIGIN, Reads(frozenset({"user-agent"})))
    assert found == Draft(
        "a",
        b"1",
        Attributes(owner="o", idempotency_key="k", headers={"user-agent": "u"}),
        b"f" * 16,
    )
