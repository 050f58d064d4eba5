"""Shapes that many operations share: pages, ranges of time, moments."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.page import PAGE_SIZE_DEFAULT, Page, PageRequest
from waypost.policy.events import NO_CONTROLS
from waypost.web.queries import MicrosInQuery

T = TypeVar("T")
S = TypeVar("S")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
GREAT_PAGE: Final = 1000
"""The greatest page of what grows by itself: events, deliveries, attempts."""
SMALL_PAGE: Final = 100
"""The greatest page of what people make: subscriptions, projects, keys."""

Moment = Annotated[datetime, Meta(tz=True)]
"""A moment in a body: RFC 3339 on the wire."""

Named = Annotated[str, Meta(min_length=1, max_length=128, pattern=NO_CONTROLS)]
"""What people call the things that they make."""

StartingAfter = Annotated[
    str, Meta(description="A position: the page holds the items that follow it in the list.")
]
EndingBefore = Annotated[
    str, Meta(description="A position: the page holds the items just before it in the list.")
]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The query of a list of what people make: which page of it, from newest to oldest."""

    page_size: Annotated[int, Meta(ge=1, le=SMALL_PAGE, description="How many items at most.")] = (
        PAGE_SIZE_DEFAULT
    )
    starting_after: StartingAfter | None = None
    ending_before: EndingBefore | None = None


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """The query of a list of what grows by itself; `begin` belongs to the range, `end` does not."""

    page_size: Annotated[int, Meta(ge=1, le=GREAT_PAGE, description="How many items at most.")] = (
        PAGE_SIZE_DEFAULT
    )
    starting_after: StartingAfter | None = None
    ending_before: EndingBefore | None = None
    begin: (
        Annotated[MicrosInQuery, Meta(description="Only what was made at this moment or later.")]
        | None
    ) = None
    end: (
        Annotated[MicrosInQuery, Meta(description="Only what was made before this moment.")] | None
    ) = None


class PageOf(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, newest first; `has_more`: further items in the direction asked for."""

    data: list[T]
    has_more: bool


def moment(at_us: int) -> datetime:
    """Return UTC microseconds since 1970 as an aware datetime."""
    return EPOCH + timedelta(microseconds=at_us)


def page_of(page: Page[S], shape: Callable[[S], T]) -> PageOf[T]:
    """Return a page with each item in its shape on the wire."""
    return PageOf([shape(item) for item in page.items], page.has_more)


def page_request(query: Listing | Range, kind: str) -> PageRequest:
    """Read which page is asked for.

    Args:
        query: the checked query.
        kind: the prefix of the tokens that are the list's positions; an item with that token need
            not exist (any more).

    Raises:
        InvalidInput: a position is not a token of this kind.
    """
    older = _position(kind, "starting_after", query.starting_after)
    newer = _position(kind, "ending_before", query.ending_before)
    if isinstance(query, Range):
        return PageRequest(query.page_size, older, newer, query.begin, query.end)
    return PageRequest(query.page_size, older, newer)


def _position(kind: str, field: str, token: str | None) -> ids.Id | None:
    if token is None:
        return None
    identifier = ids.find(kind, token)
    if identifier is None:
        raise InvalidInput(details=[(field, f"must be a token that begins with {kind}_")])
    return identifier


def subscription_named(token: str | None, path: str = "event_subscription_token") -> ids.Id | None:
    """Read the token of an event subscription at a path; None where it was not given.

    Raises:
        InvalidInput: it is not the token of an event subscription.
    """
    if token is None:
        return None
    found = ids.find(ids.SUBSCRIPTION, token)
    if found is None:
        reason = f"must be a token that begins with {ids.SUBSCRIPTION}_"
        raise InvalidInput(details=[(path, reason)])
    return found
