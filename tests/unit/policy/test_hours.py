"""Sending hours, and the days on which clocks are changed."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.model.errors import InvalidSetting
from waypost.model.flow import SendingHours
from waypost.policy import hours

MINUTE_US = 60_000_000
OFFICE = "* 8-17 * * mon-fri"


def at(text: str, zone: str = "UTC", *, fold: int = 0) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(moment.timestamp()) * 1_000_000


def compiled(*windows: str, zone: str = "UTC") -> hours.Hours:
    wanted = SendingHours(windows, zone)
    hours.check(wanted)
    return hours.compiled(wanted)


@pytest.mark.parametrize(
    "window, moment, is_open",
    [
        (OFFICE, "2026-03-02T08:00:00", True),
        (OFFICE, "2026-03-02T17:59:59", True),
        (OFFICE, "2026-03-02T18:00:00", False),
        (OFFICE, "2026-03-02T07:59:59", False),
        (OFFICE, "2026-03-01T12:00:00", False),
        ("* * * * *", "2026-03-01T12:00:00", True),
        ("*/15 * * * *", "2026-03-01T12:30:59", True),
        ("*/15 * * * *", "2026-03-01T12:31:00", False),
        ("5/20 * * * *", "2026-03-01T12:45:00", True),
        ("0-10/5 * * * *", "2026-03-01T12:10:00", True),
        ("0-10/5 * * * *", "2026-03-01T12:15:00", False),
        ("1,2,30-40 * * * *", "2026-03-01T12:35:00", True),
        ("* * * * 7", "2026-03-01T12:00:00", True),
        ("* * * * 0", "2026-03-01T12:00:00", True),
        ("* * * * SAT-SUN", "2026-03-01T12:00:00", True),
        ("* * * * sat-sun", "2026-03-02T12:00:00", False),
        ("* * * Feb-mar *", "2026-03-01T12:00:00", True),
        ("* * 1 * mon", "2026-03-01T12:00:00", True),  # the day, or the weekday
        ("* * 1 * mon", "2026-03-02T12:00:00", True),
        ("* * 1 * mon", "2026-03-03T12:00:00", False),
        ("* * */2 * mon", "2026-03-02T12:00:00", False),  # a star does not count as restricted
    ],
)
def test_a_minute_is_open_where_the_expression_names_it(
    window: str, moment: str, is_open: bool
) -> None:
    assert compiled(window).is_open(at(moment)) is is_open


@pytest.mark.parametrize(
    "moment, opens",
    [
        ("2026-03-02T12:00:01", "2026-03-02T12:00:01"),
        ("2026-03-02T18:00:00", "2026-03-03T08:00:00"),
        ("2026-03-06T20:00:00", "2026-03-09T08:00:00"),
        ("2026-03-02T07:59:59", "2026-03-02T08:00:00"),
    ],
)
def test_tells_when_they_open(moment: str, opens: str) -> None:
    assert compiled(OFFICE).open_from(at(moment)) == at(opens)


def test_tells_until_when_they_are_open() -> None:
    assert compiled(OFFICE).open_until(at("2026-03-02T12:00:01")) == at("2026-03-02T18:00:00")
    both = compiled("30-59 8 * * *", "* 9-16 * * *")
    assert both.open_from(at("2026-03-02T00:00:00")) == at("2026-03-02T08:30:00")
    assert both.open_until(at("2026-03-02T08:30:00")) == at("2026-03-02T17:00:00")
    assert compiled("* * * * *").open_until(at("2026-03-02T12:00:00")) == at("2026-03-03T12:00:00")


def test_a_leap_day_is_waited_for() -> None:
    leap = compiled("0 12 29 2 *")
    assert leap.open_from(at("2026-03-01T00:00:00")) == at("2028-02-29T12:00:00")
    assert leap.open_from(at("2097-03-01T00:00:00")) == at("2104-02-29T12:00:00")


def test_the_windows_are_of_the_wall_clock_in_summer_and_in_winter() -> None:
    berlin = compiled("* 8-17 * * *", zone="Europe/Berlin")
    assert berlin.open_from(at("2026-01-15T00:00:00")) == at("2026-01-15T07:00:00")
    assert berlin.open_from(at("2026-07-15T00:00:00")) == at("2026-07-15T06:00:00")
    # Over the night of a change: 8 o'clock stays 8 o'clock.
    assert berlin.open_from(at("2026-03-28T18:00:00", "Europe/Berlin")) == at("2026-03-29T06:00:00")
    assert berlin.open_from(at("2026-10-24T18:00:00", "Europe/Berlin")) == at("2026-10-25T07:00:00")


def test_an_hour_that_is_skipped_opens_nothing() -> None:
    night = compiled("* 2 * * *", zone="Europe/Berlin")
    assert night.open_from(at("2026-03-28T03:00:00", "Europe/Berlin")) == at(
        "2026-03-30T02:00:00", "Europe/Berlin"
    )


def test_an_hour_that_comes_twice_opens_twice() -> None:
    night = compiled("* 2 * * *", zone="Europe/Berlin")
    opened_us = night.open_from(at("2026-10-25T01:00:00", "Europe/Berlin"))
    assert opened_us == at("2026-10-25T00:00:00")
    assert night.open_until(opened_us) == at("2026-10-25T02:00:00")
    quarter = compiled("0-14 2 * * *", zone="Europe/Berlin")
    assert quarter.open_from(at("2026-10-25T00:20:00")) == at("2026-10-25T01:00:00")


@pytest.mark.parametrize(
    "zone", ["America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]
)
@settings(max_examples=25, deadline=None)
@given(
    st.integers(at("2010-01-01T00:00:00"), at("2030-01-01T00:00:00")),
    st.sampled_from(["*/7 * * * *", "30-59 0,23 * * *", "* 2-3 * * sun", "15 12 31 * *"]),
)
def test_the_next_opening_is_what_a_look_at_every_minute_finds(
    zone: str, now_us: int, window: str
) -> None:
    found = compiled(window, zone=zone)
    opens_us = found.open_from(now_us)
    assert opens_us is not None
    assert found.is_open(opens_us)
    assert opens_us >= now_us
    minute_us = now_us
    for _ in range(3000):
        if minute_us >= opens_us:
            break
        assert not found.is_open(minute_us)
        minute_us += MINUTE_US - minute_us % MINUTE_US
    if found.is_open(now_us):
        until_us = found.open_until(now_us)
        assert found.is_open(until_us - 1)


@pytest.mark.parametrize(
    "window, reason",
    [
        ("", "must be minute, hour"),
        ("* * * *", "must be minute, hour"),
        ("* * * * * *", "must be minute, hour"),
        ("60 * * * *", "minute: '60' is no number from 0 to 59"),
        ("* 24 * * *", "hour: '24' is no number from 0 to 23"),
        ("* * 0 * *", "day: '0' is no number from 1 to 31"),
        ("* * * 13 *", "month: '13' is no number from 1 to 12"),
        ("* * * * 8", "weekday: '8' is no number from 0 to 7"),
        ("* * * * funday", "weekday: 'funday' is no number"),
        ("mon * * * *", "minute: 'mon' is no number"),
        ("-1 * * * *", "minute: '' is no number"),
        ("9-5 * * * *", "minute: '9-5' ends before it begins"),
        ("*/0 * * * *", "minute: '*/0' has no step"),
        ("*/ * * * *", "minute: '*/' has no step"),
        ("*/x * * * *", "minute: '*/x' has no step"),
        ("1,,2 * * * *", "minute: '' is no number"),
        ("\u0661 * * * *", "is no number"),
        ("* * 30 2 *", "names no day that there is"),
        ("* * 31 4,6,9,11 *", "names no day that there is"),
        ("1" * 300 + " * * * *", "must be minute, hour"),
    ],
)
def test_a_window_that_is_none_is_refused_with_its_place(window: str, reason: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        hours.check(SendingHours((OFFICE, window)))
    [(path, told)] = refused.value.details
    assert path == "sending_hours.windows[1]"
    assert reason in told


@pytest.mark.parametrize(
    "zone", ["", "Berlin", "Europe/berlin2", "../etc/passwd", "/etc/passwd", "Europe", "x" * 300]
)
def test_a_time_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        hours.check(SendingHours((OFFICE,), zone))
    assert [path for path, _ in refused.value.details] == ["sending_hours.time_zone"]


def test_a_time_zone_that_this_machine_does_not_know_is_taken_for_utc() -> None:
    found = hours.compiled(SendingHours((OFFICE,), "Mars/Olympus"))
    assert found.is_open(at("2026-03-02T08:00:00"))
