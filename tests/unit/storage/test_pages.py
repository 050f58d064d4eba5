"""Pages: every cut of a list, against the same cut made of a plain Python list."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Row, create_engine, insert, literal, select

from tests.support.database import Records, make
from waypost.model import ids
from waypost.model.page import Page, PageRequest
from waypost.storage import pages
from waypost.storage.schema import events, metadata, queue

PROJECT = ids.make(1, 1)
MOMENTS = range(1_000, 1_020)
IDS = [ids.make(at_us, chance) for at_us in MOMENTS for chance in (1, 2)]
POSITIONS = st.none() | st.sampled_from([*IDS, *(ids.make(at, 9) for at in MOMENTS)])
REQUESTS = st.builds(
    PageRequest,
    size=st.integers(1, 45),
    older_than=POSITIONS,
    newer_than=POSITIONS,
    begin_us=st.none() | st.integers(995, 1_025),
    end_us=st.none() | st.integers(995, 1_025),
)
memory = create_engine("sqlite://").connect()
metadata.create_all(memory)
memory.execute(
    insert(queue),
    [
        {
            "project_id": PROJECT,
            "id": IDS[-1 - index],
            "event_id": IDS[index // 4],
            "subscription_id": PROJECT,
            "class": 0,
            "due_us": 0,
            "attempts": 0,
        }
        for index in range(len(IDS))
    ],
)
JOINED = sorted(IDS[index // 4] + IDS[-1 - index] for index in range(len(IDS)))


def expected(every: list[bytes], request: PageRequest) -> Page[bytes]:
    """Cut the page out of the whole list."""
    begin = ids.FIRST if request.begin_us is None else ids.lowest(request.begin_us)
    end = ids.LAST if request.end_us is None else ids.lowest(request.end_us)
    older = request.older_than or ids.LAST * 3
    newer = request.newer_than or b""
    chosen = [one for one in every if newer < one < older and begin <= one[:16] < end]
    if request.newer_than is not None and request.older_than is None:
        return Page(chosen[: request.size][::-1], len(chosen) > request.size)
    return Page(chosen[::-1][: request.size], len(chosen) > request.size)


@given(REQUESTS)
def test_a_list_by_one_id(request_: PageRequest) -> None:
    page = pages.read(memory, select(queue.c.id), (queue.c.id,), request_, lambda row: row.id)
    assert page == expected(sorted(IDS), request_)


def joined(row: Row[Any]) -> bytes:
    return bytes(row.event_id + row.id)


@given(REQUESTS, st.none() | st.sampled_from(JOINED), st.none() | st.sampled_from(JOINED))
def test_a_list_by_two_ids(request_: PageRequest, older: bytes | None, newer: bytes | None) -> None:
    request_ = PageRequest(request_.size, older, newer, request_.begin_us, request_.end_us)
    order = (queue.c.event_id, queue.c.id)
    page = pages.read(memory, select(*order), order, request_, joined)
    assert page == expected(JOINED, request_)


@given(REQUESTS)
def test_what_is_admitted_is_what_the_statements_choose(request_: PageRequest) -> None:
    everything = msgspec.structs.replace(request_, size=len(IDS))
    chosen = expected(sorted(IDS), everything)
    assert [one for one in sorted(IDS, reverse=True) if pages.admits(request_, one)] == sorted(
        chosen.items, reverse=True
    )


@given(REQUESTS, st.integers(0, 2 ** len(IDS) - 1))
def test_pages_that_are_merged_are_the_page_of_the_whole(request_: PageRequest, which: int) -> None:
    parts = [
        [one for index, one in enumerate(sorted(IDS)) if (which >> index & 1) == part]
        for part in (0, 1)
    ]
    merged = pages.merge(
        [expected(part, request_) for part in parts], request_, position=lambda one: one
    )
    assert merged == expected(sorted(IDS), request_)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return make(tmp_path / "w.db")


def heavy(row: Row[Any]) -> bytes:
    return bytes(row.id)


@pytest.mark.parametrize("up", [False, True])
def test_a_page_that_weighs_too_much_ends_early(records: Records, up: bool) -> None:
    made = [records.event() for _ in range(4)]
    query = select(literal(b""), events.c.id)
    request = PageRequest(size=4, newer_than=ids.FIRST if up else None)
    weight = pages.PAGE_BYTES // 2
    page = pages.read(
        records.connection, query, (events.c.id,), request, heavy, weigh=lambda _: weight
    )
    assert page == Page(made[:2][::-1] if up else made[:1:-1], has_more=True)


def test_one_item_is_on_a_page_whatever_it_weighs(records: Records) -> None:
    made = records.event()
    query = select(literal(b""), events.c.id)
    page = pages.read(
        records.connection,
        query,
        (events.c.id,),
        PageRequest(),
        heavy,
        weigh=lambda _: 2 * pages.PAGE_BYTES,
    )
    assert page == Page([made], has_more=False)
