"""Partitions follow each other without a gap or an overlap, whatever their width was."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.storage import partitions
from waypost.storage.partitions import DAY_US, Partition, Width
from waypost.storage.schema import PARTITIONED

NOW_US = 1_800_000_000_000_000
WHOLE = {table.name: table.name for table in PARTITIONED}


def made(*bounds: tuple[int, int], tables: dict[str, str] = WHOLE) -> list[Partition]:
    return [Partition(begin, end, tables, {}) for begin, end in bounds]


def weekday(at_us: int) -> int:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).weekday()


spans = st.lists(
    st.tuples(
        st.sampled_from(list(Width)),
        st.integers(0, 400 * DAY_US),
        st.integers(0, 40 * DAY_US),
    ),
    min_size=1,
    max_size=6,
)


@given(spans)
def test_what_is_asked_for_is_covered_once(asked: list[tuple[Width, int, int]]) -> None:
    taken: list[tuple[int, int]] = []
    for width, from_us, length_us in asked:
        begin_us, end_us = NOW_US + from_us, NOW_US + from_us + length_us
        new = partitions._missing(taken, begin_us, end_us, width)
        longest = 7 * DAY_US if width is Width.WEEK else DAY_US
        assert all(0 < end - begin <= longest for begin, end in new)
        taken = sorted([*taken, *new])
        assert all(one[1] <= following[0] for one, following in pairwise(taken))
        assert all(bound % DAY_US == 0 for bounds in taken for bound in bounds)
        assert partitions._missing(taken, begin_us, end_us, width) == []
        until = partitions.covered_until(made(*taken), begin_us)
        assert until > end_us


def test_days_begin_at_midnight_and_weeks_on_monday() -> None:
    (day,) = partitions._missing([], NOW_US, NOW_US, Width.DAY)
    assert day == (NOW_US - NOW_US % DAY_US, NOW_US - NOW_US % DAY_US + DAY_US)
    (week,) = partitions._missing([], NOW_US, NOW_US, Width.WEEK)
    assert week[1] - week[0] == 7 * DAY_US
    assert weekday(week[0]) == 0


def test_another_width_begins_where_the_old_one_ends() -> None:
    (first,) = partitions._missing([], NOW_US, NOW_US + 1, Width.WEEK)
    days = partitions._missing([first], NOW_US, first[1] + 2 * DAY_US, Width.DAY)
    assert days[0] == (first[1], first[1] + DAY_US)
    week = partitions._missing([first, *days], NOW_US, days[-1][1], Width.WEEK)
    assert week == [(days[-1][1], first[1] + 7 * DAY_US)]


def test_coverage_ends_at_the_first_gap_or_lack() -> None:
    a, b, c, d = (NOW_US + n * DAY_US for n in range(4))
    assert partitions.covered_until([], a) == a
    assert partitions.covered_until(made((a, b), (b, c)), a + 5) == c
    assert partitions.covered_until(made((a, b), (c, d)), a + 5) == b
    lacking = [*made((a, b)), *made((b, c), tables={"events": "events_p"})]
    assert partitions.covered_until(lacking, a) == b


@pytest.mark.parametrize("cut, expected", [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4), (9, 9)])
def test_rows_wait_for_their_whole_partition(cut: int, expected: int) -> None:
    assert partitions.whole_until(made((0, 2), (2, 4)), cut) == expected


def test_a_partition_is_called_by_its_days() -> None:
    (week,) = made((1_799_625_600_000_000, 1_800_230_400_000_000))
    assert week.name == "20270111..20270117"
