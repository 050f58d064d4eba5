"""Shapes that many operations share."""

from datetime import UTC, datetime

import pytest

from waypost.api.shapes import Listing, PageOf, Range, moment, page_of, page_request
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.page import Page, PageRequest

ID = ids.make(1_800_000_000_000_000, 1)
TOKEN = ids.spell(ids.EVENT, ID)


def test_a_moment_is_exact_to_the_microsecond() -> None:
    assert moment(1_800_000_000_123_456) == datetime(2027, 1, 15, 8, 0, 0, 123456, UTC)
    assert moment(0) == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_page_keeps_its_order_and_whether_there_is_more() -> None:
    assert page_of(Page([2, 1], has_more=True), str) == PageOf(["2", "1"], has_more=True)


def test_without_anything_it_is_the_newest_fifty() -> None:
    assert page_request(Range(), ids.EVENT) == PageRequest(size=50)
    assert page_request(Listing(), ids.EVENT) == PageRequest(size=50)


def test_positions_and_range_are_read() -> None:
    query = Range(page_size=3, starting_after=TOKEN, ending_before=TOKEN, begin=5, end=6)
    assert page_request(query, ids.EVENT) == PageRequest(3, ID, ID, 5, 6)


@pytest.mark.parametrize("token", ["", "x", "evt_1", ids.spell(ids.ATTEMPT, ID), TOKEN.upper()])
@pytest.mark.parametrize("field", ["starting_after", "ending_before"])
def test_a_position_that_is_no_token_of_the_list_is_refused(field: str, token: str) -> None:
    for query in (Listing(**{field: token}), Range(**{field: token})):  # type: ignore[arg-type] # fields by name
        with pytest.raises(InvalidInput) as refused:
            page_request(query, ids.EVENT)
        assert [path for path, _ in refused.value.details] == [field]
