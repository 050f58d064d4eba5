from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.policy import timestamp

FIRST_US = -62_135_596_800_000_000
LAST_US = 253_402_300_799_999_999


@pytest.mark.parametrize(
    "text, at_us",
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T05:30:00+05:30", 0),
        ("1969-12-31T16:00:00-08:00", 0),
        ("2019-12-27t18:11:19.117000+00:00", 1_577_470_279_117_000),
        ("2018-04-05T17:31:00.123456789z", 1_522_949_460_123_457),
        ("0001-01-01T00:00:00Z", FIRST_US),
        ("9999-12-31T23:59:59.999999Z", LAST_US),
    ],
)
def test_reads_rfc_3339(text: str, at_us: int) -> None:
    assert timestamp.read(text) == at_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-02-30T00:00:00Z",
        "2020-01-01T24:00:00Z",
        "2020-W01-1T00:00:00Z",
        "20200101T000000Z",
        "2020-01-01T00:00:00Z ",
        "2016-12-31T23:59:60Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1577836800",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        timestamp.read(text)


@given(st.integers(FIRST_US, LAST_US))
def test_what_is_spelled_reads_the_same(at_us: int) -> None:
    text = timestamp.spell(at_us)
    assert len(text) == len("2026-01-31T23:59:59.000001Z")
    assert timestamp.read(text) == at_us


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)),  # noqa: DTZ001 - the zone is added
    st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_an_offset_changes_the_text_not_the_moment(naive: datetime, zone: timezone) -> None:
    moment = naive.replace(tzinfo=zone)
    assert timestamp.microseconds(moment) == timestamp.microseconds(moment.astimezone(UTC))


@given(st.text())
def test_no_text_fails_otherwise(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        timestamp.read(text)
