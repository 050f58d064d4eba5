"""Convoy's pages: cursors both ways, windows of time, and lists of which only some is kept."""

from typing import Any

import pytest
from starlette.datastructures import QueryParams

from waypost.dialects.convoy import paging
from waypost.dialects.convoy.answers import PageOut
from waypost.dialects.convoy.table import Call
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.page import Page, PageRequest

IDS = [ids.make(n, n) for n in range(1, 8)]
DAY_US = 86_400_000_000


def call(query: str) -> Call:
    nothing: Any = None
    return Call(nothing, {}, QueryParams(query), None, nothing)


def listed(request: PageRequest) -> Page[ids.Id]:
    """Return a page as the store does."""
    found = [
        one
        for one in IDS
        if (request.older_than is None or one < request.older_than)
        and (request.newer_than is None or one > request.newer_than)
    ]
    up = request.newer_than is not None and request.older_than is None
    kept = found[: request.size] if up else found[::-1][: request.size]
    return Page(kept[::-1] if up else kept, len(found) > request.size)


def page(query: str) -> PageOut[bytes]:
    listing = paging.read(call(query))
    return paging.page_out(listing, listed(listing.request), lambda one: one, lambda one: one)


@pytest.mark.parametrize("sort, order", [("DESC", IDS[::-1]), ("asc", IDS)])
def test_pages_go_on_and_back(sort: str, order: list[ids.Id]) -> None:
    query = f"perPage=3&sort={sort}"
    first = page(query)
    assert first["content"] == order[:3]
    assert not first["pagination"]["has_prev_page"]
    second = page(f"{query}&next_page_cursor={first['pagination']['next_page_cursor']}")
    assert second["content"] == order[3:6]
    third = page(f"{query}&next_page_cursor={second['pagination']['next_page_cursor']}")
    assert (third["content"], third["pagination"]["has_next_page"]) == (order[6:], False)
    cursor = third["pagination"]["prev_page_cursor"]
    back = page(f"{query}&direction=prev&prev_page_cursor={cursor}")
    assert back["content"] == order[3:6]
    assert back["pagination"]["has_next_page"]
    cursor = back["pagination"]["prev_page_cursor"]
    start = page(f"{query}&direction=prev&prev_page_cursor={cursor}")
    assert (start["content"], start["pagination"]["has_prev_page"]) == (order[:3], False)


def test_the_first_page_may_be_asked_for_by_its_name() -> None:
    assert page(f"next_page_cursor={paging.NEWEST}")["content"] == IDS[::-1]


@pytest.mark.parametrize(
    "query, blamed",
    [
        ("perPage=0", "perPage"),
        ("perPage=1001", "perPage"),
        ("perPage=x", "perPage"),
        ("sort=up", "sort"),
        ("direction=left", "direction"),
        ("next_page_cursor=x", "next_page_cursor"),
        (f"next_page_cursor={'0' * 52}", "next_page_cursor"),
        ("prev_page_cursor=x", "prev_page_cursor"),
        ("perPage=1&perPage=2", "perPage"),
    ],
)
def test_what_is_no_page_is_refused(query: str, blamed: str) -> None:
    with pytest.raises(InvalidInput, match=blamed):
        paging.read(call(query))


def test_positions_may_be_several_ids() -> None:
    cursor = paging.spell(IDS[0] + IDS[1])
    found = paging.read(call(f"next_page_cursor={cursor}"), joined=2).request.older_than
    assert found is not None
    assert found > IDS[0] + IDS[1]


def test_the_window_is_the_last_week_unless_told() -> None:
    now_us = 10 * DAY_US + 5
    assert paging.read_window(call(""), now_us) == (3 * DAY_US, 11 * DAY_US)
    query = "startDate=1970-01-02T00:00:00&endDate=1970-01-03T00:00:00"
    assert paging.read_window(call(query), now_us) == (DAY_US, 2 * DAY_US + 1_000_000)
    with pytest.raises(InvalidInput, match="please specify a startDate in the format"):
        paging.read_window(call("startDate=1970-01-02"), now_us)
    with pytest.raises(InvalidInput, match="cannot be greater"):
        paging.read_window(call("startDate=1970-02-02T00:00:00"), now_us)


async def fetch(request: PageRequest) -> Page[ids.Id]:
    return listed(request)


@pytest.mark.parametrize("sort", ["DESC", "ASC"])
async def test_what_is_kept_of_a_list_is_paged(sort: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "_SLICE", 5)
    listing = paging.read(call(f"perPage=2&sort={sort}"))
    odd = set(IDS[::2])
    sizes: list[int] = []

    async def noted(request: PageRequest) -> Page[bytes]:
        sizes.append(request.size)
        return await fetch(request)

    found = await paging.sift(noted, listing, odd.__contains__, lambda one: one)
    assert sizes == [4, 5]
    shown = paging.page_out(listing, found.page, lambda one: one, lambda one: one, found.stopped)
    order = IDS[::2] if sort == "ASC" else IDS[::2][::-1]
    assert shown["content"] == order[:2]
    assert shown["pagination"]["has_next_page"]


async def test_a_search_that_takes_too_long_goes_on_in_the_next_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paging, "_SLICE", 2)
    monkeypatch.setattr(paging, "SIFTED_MAX", 4)
    listing = paging.read(call("perPage=2"))
    found = await paging.sift(fetch, listing, lambda one: one == IDS[0], lambda one: one)
    assert (found.page.items, found.stopped) == ([], IDS[3])
    shown = paging.page_out(listing, found.page, lambda one: one, lambda one: one, found.stopped)
    cursor = shown["pagination"]["next_page_cursor"]
    assert shown["pagination"]["has_next_page"]
    listing = paging.read(call(f"perPage=2&next_page_cursor={cursor}"))
    found = await paging.sift(fetch, listing, lambda one: one == IDS[0], lambda one: one)
    assert found.page.items == IDS[:1]
