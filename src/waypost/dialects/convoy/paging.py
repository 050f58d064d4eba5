"""Convoy's pages: cursors, the window of time, and the part of an answer that tells of both.

A cursor is a position, one id or several joined, each as a ULID: `next_page_cursor` is the first
position that the next page may hold, `prev_page_cursor` the first one of this page.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar

import msgspec

from waypost.dialects.convoy.answers import PageOut
from waypost.dialects.convoy.table import Call
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.page import Page, PageRequest

T = TypeVar("T")
S = TypeVar("S")

PER_PAGE: Final = 20
PER_PAGE_MAX: Final = 1_000
NEWEST: Final = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"
"""What Convoy's clients send for the first page, newest first."""
PARAMETERS: Final = (
    "perPage",
    "sort",
    "direction",
    "next_page_cursor",
    "prev_page_cursor",
)
DATES: Final = ("startDate", "endDate")
SIFTED_MAX: Final = 500
"""So many things of a list are looked at for one page of what is kept of it."""
WINDOW: Final = timedelta(days=7)

_DATE: Final = "%Y-%m-%dT%H:%M:%S"
_ULID: Final = 26
_SLICE: Final = 500
_MICROS: Final = 1_000_000


class Listing(msgspec.Struct, frozen=True):
    """Which page was asked for.

    Attributes:
        request: the same in our words.
        ascending: oldest first.
        back: towards what stands before the cursor.
        begun: a cursor was given.
    """

    request: PageRequest
    ascending: bool = False
    back: bool = False
    begun: bool = False

    @property
    def size(self) -> int:
        """How many items at most."""
        return self.request.size


def read(call: Call, window: tuple[int, int] | None = None, joined: int = 1) -> Listing:
    """Read which page was asked for.

    Args:
        call: the request.
        window: the range of time `[begin, end)`, UTC microseconds; None for all.
        joined: of how many ids a position consists.

    Raises:
        InvalidInput: a parameter is not what it should be.
    """
    size = _size(call.one("perPage"))
    ascending = _choice(call, "sort", ("desc", "asc")) == "asc"
    back = _choice(call, "direction", ("next", "prev")) == "prev"
    name = "prev_page_cursor" if back else "next_page_cursor"
    cursor = _cursor(call.one(name), name, joined)
    other = "next_page_cursor" if back else "prev_page_cursor"
    _cursor(call.one(other), other, joined)
    begin_us, end_us = window or (None, None)
    older = newer = None
    if cursor is not None:
        if back:
            older, newer = (cursor, None) if ascending else (None, cursor)
        else:
            older, newer = (None, _step(cursor, -1)) if ascending else (_step(cursor, 1), None)
    elif ascending is not back:
        newer = ids.FIRST * joined
    request = PageRequest(size, older, newer, begin_us, end_us)
    return Listing(request, ascending, back, cursor is not None)


class Sifted(msgspec.Struct, Generic[T], frozen=True):
    """A page of what was kept of a list.

    Attributes:
        stopped: where it was looked last, where the page is cut because it took too long.
    """

    page: Page[T]
    stopped: bytes | None = None


async def sift(
    fetch: Callable[[PageRequest], Awaitable[Page[T]]],
    listing: Listing,
    keep: Callable[[T], bool],
    position: Callable[[T], bytes],
    *,
    is_open: bool = False,
    most: int | None = None,
) -> Sifted[T]:
    """Return a page of those things of a list that are kept.

    Once so many things were looked at it ends with what it has; the next page goes on from there.

    Args:
        fetch: returns a page of the list.
        listing: which page was asked for.
        keep: whether a thing is kept.
        position: where it stands in the list.
        is_open: everything is kept.
        most: how many things are looked at; None: `SIFTED_MAX`.
    """
    if is_open:
        return Sifted(await fetch(listing.request))
    request = listing.request
    up = request.newer_than is not None
    found: list[T] = []
    left, step = most or SIFTED_MAX, min(2 * listing.size, _SLICE)
    while left > 0:
        # Most often a page is soon full: only where it is not, more is looked at with each look.
        part = await fetch(msgspec.structs.replace(request, size=min(step, left)))
        left, step = left - step, min(2 * step, _SLICE)
        walked = part.items[::-1] if up else part.items
        found += [one for one in walked if keep(one)]
        if len(found) > listing.size or not part.has_more:
            kept = found[: listing.size]
            more = part.has_more or len(found) > listing.size
            return Sifted(Page(kept[::-1] if up else kept, more))
        last = position(walked[-1])
        name = "newer_than" if up else "older_than"
        request = msgspec.structs.replace(request, **{name: last})
    return Sifted(Page(found[::-1] if up else found, has_more=True), position(walked[-1]))


def page_out(
    listing: Listing,
    page: Page[T],
    position: Callable[[T], bytes],
    shape: Callable[[T], S],
    stopped: bytes | None = None,
) -> PageOut[S]:
    """Return `{content, pagination}`; `stopped`: see `Sifted`."""
    items = page.items[::-1] if listing.ascending else page.items
    has_next = listing.begun if listing.back else page.has_more
    has_prev = page.has_more if listing.back else listing.begun
    next_cursor = prev_cursor = ""
    if stopped is not None and not listing.back:
        next_cursor = spell(_step(stopped, 1 if listing.ascending else -1))
    elif items:
        past = _step(position(items[-1]), 1 if listing.ascending else -1)
        next_cursor = spell(past) if has_next else ""
    if items:
        prev_cursor = spell(position(items[0])) if has_prev else ""
    return {
        "content": [shape(item) for item in items],
        "pagination": {
            "per_page": listing.size,
            "has_next_page": has_next and bool(next_cursor),
            "has_prev_page": has_prev and bool(prev_cursor),
            "prev_page_cursor": prev_cursor,
            "next_page_cursor": next_cursor,
        },
    }


def read_window(call: Call, now_us: int) -> tuple[int, int]:
    """Return the range of time `[begin, end)` that is asked for, UTC microseconds.

    Where it is not said, it is from the start of the day a week ago to the end of today.

    Raises:
        InvalidInput: a date is none, or the end is before the start.
    """
    today = datetime.fromtimestamp(now_us // _MICROS, UTC).replace(hour=0, minute=0, second=0)
    begin = _date(call, "startDate") or today - WINDOW
    given = _date(call, "endDate")
    end = today + timedelta(days=1) if given is None else given + timedelta(seconds=1)
    if end <= begin:
        raise InvalidInput("startDate cannot be greater than endDate")
    return _micros(begin), _micros(end)


def spell(position: bytes) -> str:
    """Spell a position."""
    parts = range(0, len(position), ids.ID_BYTES)
    return "".join(ids.spell_ulid(position[at : at + ids.ID_BYTES]) for at in parts)


def _size(text: str | None) -> int:
    if text is None:
        return PER_PAGE
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    if not 1 <= number <= PER_PAGE_MAX:
        raise InvalidInput(
            details=[("perPage", f"must be a whole number from 1 to {PER_PAGE_MAX}")]
        )
    return number


def _choice(call: Call, name: str, choices: tuple[str, ...]) -> str:
    value = (call.one(name) or choices[0]).lower()
    if value not in choices:
        raise InvalidInput(details=[(name, f"must be one of {', '.join(choices)}")])
    return value


def _cursor(text: str | None, name: str, joined: int) -> bytes | None:
    if text is None or text == NEWEST:
        return None
    parts = [ids.find_ulid(text[at : at + _ULID]) for at in range(0, len(text), _ULID)]
    found = [part for part in parts if part is not None]
    if len(found) != joined or len(parts) != joined:
        raise InvalidInput(details=[(name, "is not a cursor of this list")])
    return b"".join(found)


def _step(position: bytes, by: int) -> bytes:
    """Return the position beside one, in the order of positions; the outermost has none."""
    number = int.from_bytes(position, "big") + by
    highest = (1 << 8 * len(position)) - 1
    return min(max(number, 0), highest).to_bytes(len(position), "big")


def _date(call: Call, name: str) -> datetime | None:
    text = call.one(name)
    if text is None:
        return None
    try:
        return datetime.strptime(text, _DATE).replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidInput(f"please specify a {name} in the format 2006-01-02T15:04:05") from error


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * _MICROS
