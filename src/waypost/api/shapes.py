"""Shapes that many operations share: pages, ranges of time, moments."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Generic, TypeVar

import msgspec

from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.page import PAGE_SIZE_DEFAULT, Page, PageRequest
from waypost.policy import timestamp

T = TypeVar("T")
S = TypeVar("S")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
GREAT_PAGE: Final = 1000
"""The greatest page of what grows by itself: events, deliveries, attempts."""
SMALL_PAGE: Final = 100
"""The greatest page of what people make: subscriptions, projects, keys."""

Moment = Annotated[datetime, msgspec.Meta(tz=True, description="A moment, RFC 3339.")]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The query of every list: which page of it, from newest to oldest."""

    page_size: Annotated[
        int | None, msgspec.Meta(description="How many items at most; 50 unless told.")
    ] = None
    starting_after: Annotated[
        str | None,
        msgspec.Meta(description="A token: the page holds the items that follow it in the list."),
    ] = None
    ending_before: Annotated[
        str | None,
        msgspec.Meta(description="A token: the page holds the items just before it in the list."),
    ] = None


class Range(Listing, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A list that can be narrowed to a range of time, `[begin, end)`."""

    begin: Annotated[
        datetime | None,
        msgspec.Meta(tz=True, description="Only what was made at or after this moment."),
    ] = None
    end: Annotated[
        datetime | None,
        msgspec.Meta(tz=True, description="Only what was made before this moment."),
    ] = None


class PageOf(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, newest first; `has_more`: further items in the direction asked for."""

    data: list[T]
    has_more: bool


def moment(at_us: int) -> datetime:
    """Return UTC microseconds since 1970 as an aware datetime."""
    return EPOCH + timedelta(microseconds=at_us)


def micros(at: datetime, path: str) -> int:
    """Return an aware datetime as UTC microseconds since 1970.

    Raises:
        InvalidInput: in UTC it is out of range; `path` is the field to blame.
    """
    try:
        return timestamp.microseconds(at)
    except ValueError as error:
        raise InvalidInput(details=[(path, str(error))]) from error


def page_of(page: Page[S], shape: Callable[[S], T]) -> PageOf[T]:
    """Return a page with each item in its shape on the wire."""
    return PageOf([shape(item) for item in page.items], page.has_more)


def page_request(listing: Listing, kind: str, largest: int) -> PageRequest:
    """Read which page is asked for.

    Args:
        listing: the query.
        kind: the prefix of the tokens that are its positions; an item with that token need not
            exist (any more).
        largest: the greatest allowed `page_size`.

    Raises:
        InvalidInput: `page_size` is not in 1..largest, or a position is not a token of this kind.
    """
    size = PAGE_SIZE_DEFAULT if listing.page_size is None else listing.page_size
    if not 1 <= size <= largest:
        raise InvalidInput(details=[("page_size", f"must be from 1 to {largest}")])
    begin, end = (listing.begin, listing.end) if isinstance(listing, Range) else (None, None)
    return PageRequest(
        size=size,
        older_than=_position(kind, "starting_after", listing.starting_after),
        newer_than=_position(kind, "ending_before", listing.ending_before),
        begin_us=None if begin is None else micros(begin, "begin"),
        end_us=None if end is None else micros(end, "end"),
    )


def _position(kind: str, field: str, token: str | None) -> ids.Id | None:
    if token is None:
        return None
    identifier = ids.find(kind, token)
    if identifier is None:
        raise InvalidInput(details=[(field, f"must be a token that begins with {kind}_")])
    return identifier
