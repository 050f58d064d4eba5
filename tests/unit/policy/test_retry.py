from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.policy.retry import (
    LITHIC,
    RETRY_AFTER_MAX_S,
    SCHEDULES,
    STANDARD,
    next_due,
    parse_retry_after,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
SECOND_US = 1_000_000

schedules = st.lists(st.floats(0, 1e6), max_size=12).map(tuple)
chances = st.floats(0, 1, exclude_max=True)
MIDDLE = 0.5


@pytest.mark.parametrize(
    "name, gaps",
    [
        ("standard", "5s 5m 30m 2h 5h 10h 14h 20h 24h"),
        ("lithic", "5s 5m 30m 2h 5h 10h 10h"),
        ("stedi", "5m 25m 90m 6h 16h 24h"),
    ],
)
def test_a_named_schedule_is_as_documented(name: str, gaps: str) -> None:
    units = {"s": 1, "m": 60, "h": 3600}
    assert SCHEDULES[name] == tuple(int(gap[:-1]) * units[gap[-1]] for gap in gaps.split())


def test_the_standard_schedule_makes_ten_attempts_in_75_hours() -> None:
    assert len(STANDARD) + 1 == 10
    assert sum(STANDARD) == 75 * 3600 + 35 * 60 + 5
    assert len(LITHIC) + 1 == 8


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_failure_is_followed_by_its_gap_and_the_last_by_nothing(name: str) -> None:
    schedule = SCHEDULES[name]
    for failed, gap_s in enumerate(schedule, start=1):
        assert next_due(schedule, failed, NOW_US, MIDDLE) == NOW_US + gap_s * SECOND_US
    assert next_due(schedule, len(schedule) + 1, NOW_US, MIDDLE) is None
    assert next_due(schedule, len(schedule) + 9, NOW_US, MIDDLE, 5.0) is None


@pytest.mark.parametrize("jitter, share", [(0.0, 0.8), (0.25, 0.9), (0.75, 1.1)])
def test_chance_spreads_a_gap_evenly_by_a_fifth(jitter: float, share: float) -> None:
    due_us = next_due((1000.0,), 1, NOW_US, jitter)
    assert due_us == pytest.approx(NOW_US + share * 1000 * SECOND_US, abs=1)


@given(schedules, st.integers(1, 14), chances, st.none() | st.floats(0, 1e9))
def test_a_gap_keeps_its_bounds(
    schedule: tuple[float, ...], failed: int, jitter: float, retry_after_s: float | None
) -> None:
    due_us = next_due(schedule, failed, NOW_US, jitter, retry_after_s)
    if failed > len(schedule):
        assert due_us is None
        return
    asked_s = min(retry_after_s or 0.0, RETRY_AFTER_MAX_S)
    assert due_us is not None
    waited_s = (due_us - NOW_US) / SECOND_US
    assert waited_s >= max(schedule[failed - 1] * 0.8, asked_s) - 1e-6
    assert waited_s <= max(schedule[failed - 1] * 1.2, asked_s) + 2e-6


@pytest.mark.parametrize(
    "retry_after_s, waited_s",
    [(None, 300), (0.0, 300), (299.0, 300), (301.0, 301), (86400.0, 86400), (1e300, 86400)],
)
def test_a_receiver_is_not_tried_before_it_asked_for(
    retry_after_s: float | None, waited_s: float
) -> None:
    assert next_due(STANDARD, 2, NOW_US, MIDDLE, retry_after_s) == NOW_US + waited_s * SECOND_US


def dated(form: str, **ahead: float) -> str:
    return (NOW + timedelta(**ahead)).strftime(form)


IMF = "%a, %d %b %Y %H:%M:%S GMT"
RFC_850 = "%A, %d-%b-%y %H:%M:%S GMT"
ASCTIME = "%a %b %e %H:%M:%S %Y"


@pytest.mark.parametrize(
    "text, seconds",
    [
        (None, None),
        ("", None),
        (" ", None),
        ("0", 0),
        ("5", 5),
        (" 5\t", 5),
        ("007", 7),
        ("86400", 86400),
        ("86401", 86400),
        ("9" * 401, 86400),
        ("9" * 10_000, 86400),
        ("-1", None),
        ("+5", None),
        ("1.5", None),
        ("1_0", None),
        ("5 s", None),
        ("\u0663", None),
        ("inf", None),
        ("-inf", None),
        ("nan", None),
        ("1e300", None),
        ("0x10", None),
        ("soon", None),
        ("5, 6", None),
        (dated(IMF, seconds=90), 90),
        (dated(RFC_850, seconds=90), 90),
        (dated(ASCTIME, seconds=90), 90),
        (dated(IMF, seconds=0), 0),
        (dated(IMF, days=-1), 0),
        (dated(RFC_850, days=-365 * 30), 0),
        (dated(ASCTIME, days=-1), 0),
        (dated(IMF, days=30), 86400),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0),
        ("Sun Nov  6 08:49:37 1994", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400),
        ("Sat, 01 Jan 0001 00:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:00:60 GMT", 59),
        ("Sun, 01 Mar 2026 12:01:00 UTC", None),
        ("Sun, 01 Mar 2026 12:01:00", None),
        ("Sun, 32 Mar 2026 12:01:00 GMT", None),
        ("Sun, 00 Mar 2026 12:01:00 GMT", None),
        ("Sun, 01 Abc 2026 12:01:00 GMT", None),
        ("Sun, 01 Mar 2026 24:01:00 GMT", None),
        ("Sun, 01 Mar 0000 12:01:00 GMT", None),
        ("Sun, 01 Mar 2026 12:01:00 GMT\n", None),
        ("Sunday, 31-Feb-26 08:49:37 GMT", None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW_US) == seconds


@pytest.mark.parametrize(
    "two_digits, seconds", [("26", 60), ("76", 86400), ("77", 0), ("25", 0), ("99", 0)]
)
def test_a_year_of_two_digits_is_at_most_fifty_years_ahead(
    two_digits: str, seconds: float | None
) -> None:
    assert parse_retry_after(f"Sunday, 01-Mar-{two_digits} 12:01:00 GMT", NOW_US) == seconds


dates = st.from_regex(
    r"[A-Z][a-z]{2,8},? ([0-9]{2}[ -])?[A-Z][a-z]{2}[ -][0-9 ]{2,4} "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|[0-9]{4})",
    fullmatch=True,
)


@given(st.text() | st.from_regex(r"[-+]?[0-9.e_]+") | dates, st.integers(0, 250_000_000_000))
def test_retry_after_never_raises_and_keeps_its_bounds(text: str, now_s: int) -> None:
    seconds = parse_retry_after(text, now_s * SECOND_US)
    assert seconds is None or 0 <= seconds <= RETRY_AFTER_MAX_S
