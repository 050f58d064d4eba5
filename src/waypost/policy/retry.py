"""When a failed delivery is tried again."""

import math
import re
from datetime import UTC, datetime
from typing import Final

STANDARD: Final = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Ten attempts over 75 hours: the example of Standard Webhooks 1.0.0, "Deliverability"."""

LITHIC: Final = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
"""Eight attempts over 27 hours: docs.lithic.com, "Events API", "Retry schedule"."""

STEDI: Final = (300.0, 1500.0, 5400.0, 21600.0, 57600.0, 86400.0)
"""Seven attempts, 5 and 30 minutes, 2, 8, 24 and 48 hours behind the first: Stedi's documents on
event destinations, "Message handling"."""

SCHEDULES: Final = {"standard": STANDARD, "lithic": LITHIC, "stedi": STEDI}
"""Schedules by name: seconds from each failed attempt to the next one."""

JITTER: Final = 0.2
"""The share of a gap by which chance may shorten or stretch it."""

RETRY_AFTER_MAX_S: Final = 86400.0
"""How long a receiver may put off the next attempt: no longer than the longest standard gap."""


def next_due(
    schedule_s: tuple[float, ...],
    failed_attempts: int,
    failed_at_us: int,
    jitter: float,
    retry_after_s: float | None = None,
    share: float = JITTER,
) -> int | None:
    """Return when the next attempt is due, UTC microseconds; None when the schedule is exhausted.

    Args:
        schedule_s: seconds from each failed attempt to the next.
        failed_attempts: how many attempts have failed so far, at least 1.
        failed_at_us: when the last one failed, UTC microseconds.
        jitter: chance, from 0 to below 1, that spreads the gap by `share` either way.
        retry_after_s: seconds for which the receiver asked to be left alone. Observed where it is
            longer than the gap, up to 24 hours; it never adds an attempt.
        share: of the gap, 0 to 1.
    """
    if failed_attempts > len(schedule_s):
        return None
    gap_s = schedule_s[failed_attempts - 1] * (1 - share + 2 * share * jitter)
    if retry_after_s is not None:
        gap_s = max(gap_s, min(retry_after_s, RETRY_AFTER_MAX_S))
    return failed_at_us + math.ceil(gap_s * 1_000_000)


_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_SECONDS = re.compile(r"[0-9]+")
_WORD = r"[A-Z][a-z]"
_DAY_YEAR = rf"(?P<day>\d\d)%s(?P<month>{_WORD}{{2}})%s(?P<year>\d{{%d}})"
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DATES: Final = (
    # IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
    re.compile(rf"{_WORD}{{2}}, {_DAY_YEAR % (' ', ' ', 4)} {_CLOCK} GMT", re.ASCII),
    # RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
    re.compile(rf"{_WORD}{{5,8}}, {_DAY_YEAR % ('-', '-', 2)} {_CLOCK} GMT", re.ASCII),
    # asctime: Sun Nov  6 08:49:37 1994
    re.compile(
        rf"{_WORD}{{2}} (?P<month>{_WORD}{{2}}) (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})",
        re.ASCII,
    ),
)


def parse_retry_after(text: str | None, now_us: int) -> float | None:
    """Read the value of `Retry-After` (RFC 9110, section 10.2.3): seconds from now, 0 to 24 hours.

    Takes seconds in digits and the three forms of an HTTP date; a date in the past is 0. None where
    there is no value, and where it is malformed: negative, fractional, `inf`, anything else. It
    never raises.
    """
    text = (text or "").strip(" \t")
    if _SECONDS.fullmatch(text):
        return min(float(text), RETRY_AFTER_MAX_S)
    date_s = _http_date(text, now_us)
    if date_s is None:
        return None
    return min(max(date_s - now_us / 1_000_000, 0.0), RETRY_AFTER_MAX_S)


def _http_date(text: str, now_us: int) -> float | None:
    """Read an HTTP date (RFC 9110, section 5.6.7) as UTC seconds since 1970."""
    match = next(filter(None, (form.fullmatch(text) for form in _DATES)), None)
    if match is None or match["month"] not in _MONTHS:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        year = _full_year(year, now_us)
    try:
        moment = datetime(
            year,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            min(int(match["second"]), 59),  # a leap second is allowed, but not known to datetime
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return moment.timestamp()


def _full_year(two_digits: int, now_us: int) -> int:
    """Return the year that ends so and is at most 50 years ahead, as the same section rules."""
    this_year = datetime.fromtimestamp(now_us // 1_000_000, UTC).year
    year = this_year - this_year % 100 + two_digits
    return year - 100 if year > this_year + 50 else year
