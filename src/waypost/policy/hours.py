"""Sending hours: the minutes in which a subscription wants to be sent to.

A window is a cron expression of five fields: minute, hour, day of the month, month, weekday (0 or 7
is Sunday; names as `mon` and `jan` are understood). A field is `*`, a number, a range `a-b`, one of
these with a step `/n`, or several of them with commas between. As in cron, where both the day and
the weekday are restricted, one of the two is enough. A minute is open where a window names it.

The windows are of the wall clock of a time zone. What is asked for is a moment, and a moment has
one wall time: an hour that is skipped in spring opens nothing, one that comes twice in autumn opens
twice.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from waypost.model.errors import InvalidSetting
from waypost.model.flow import SendingHours

WINDOW_MAX: Final = 200
"""How many characters a cron expression may have."""

_MINUTE_US: Final = 60_000_000
_DAY: Final = timedelta(days=1)
_DAY_US: Final = 24 * 60 * _MINUTE_US
_AHEAD_DAYS: Final = 366 * 8 + 1
"""A 29th of February is at most eight years away."""

_NAMES: Final = {
    "month": {
        name: number + 1
        for number, name in enumerate(
            ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
        )
    },
    "weekday": {
        name: number
        for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
    },
}
_FIELDS: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day", 1, 31),
    ("month", 1, 12),
    ("weekday", 0, 7),
)


class _Window(msgspec.Struct, frozen=True):
    """One cron expression.

    Attributes:
        either: the day and the weekday are both restricted: one of them is enough.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def names_day(self, day: date) -> bool:
        """Tell whether it is open at some time of a day."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either else of_month and of_week


class Hours:
    """Compiled sending hours."""

    __slots__ = ("_windows", "_zone")

    def __init__(self, windows: Sequence[_Window], zone: ZoneInfo) -> None:
        """Take the windows, and the zone whose wall clock they are of."""
        self._windows = tuple(windows)
        self._zone = zone

    def is_open(self, at_us: int) -> bool:
        """Tell whether something may start at a moment, UTC microseconds."""
        return self._is_open(_moment(at_us))

    def open_from(self, at_us: int) -> int | None:
        """Return the first moment from `at_us` on that is open, UTC microseconds.

        None where there is none within eight years: they never open.
        """
        now = _moment(at_us)
        if self._is_open(now):
            return at_us
        first = now.astimezone(self._zone).date()
        for ahead in range(_AHEAD_DAYS):
            day = first + ahead * _DAY
            if any(window.names_day(day) for window in self._windows):
                for minute in self._minutes(day):
                    if minute > now and self._is_open(minute):
                        return int(minute.timestamp()) * 1_000_000
        return None

    def open_until(self, at_us: int) -> int:
        """Return until when they stay open that are open at `at_us`, UTC microseconds.

        They may stay open beyond it: it is at most a day ahead.
        """
        minute = at_us - at_us % _MINUTE_US
        for until_us in range(minute + _MINUTE_US, minute + _DAY_US, _MINUTE_US):
            if not self._is_open(_moment(until_us)):
                return until_us
        return minute + _DAY_US

    def _is_open(self, moment: datetime) -> bool:
        local = moment.astimezone(self._zone)
        return any(
            local.minute in one.minutes and local.hour in one.hours and one.names_day(local)
            for one in self._windows
        )

    def _minutes(self, day: date) -> Iterator[datetime]:
        """Yield every minute, in UTC, that may belong to a day of the zone's wall clock."""
        begin = datetime(day.year, day.month, day.day, tzinfo=self._zone).astimezone(UTC)
        # Clocks are put back by no more than three hours; where a day begins may be put off so.
        for minute in range(-3 * 60, 30 * 60):
            moment = begin + timedelta(minutes=minute)
            if moment.astimezone(self._zone).date() == day:
                yield moment


def check(hours: SendingHours, path: str = "sending_hours") -> None:
    """Refuse sending hours that can't be obeyed; `path` is where they stand.

    Raises:
        InvalidSetting: its details name the window or the time zone, and what is wrong with it.
    """
    details = []
    for index, text in enumerate(hours.windows):
        at = f"{path}.windows[{index}]"
        try:
            window = _window(text)
        except ValueError as error:
            details.append((at, str(error)))
        else:
            if not any(window.names_day(day) for day in _eight_years()):
                details.append((at, "names no day that there is"))
    if find_zone(hours.time_zone) is None:
        details.append((f"{path}.time_zone", "must be an IANA time zone, as Europe/Berlin"))
    if details:
        raise InvalidSetting(details=details)


@lru_cache(maxsize=1024)
def compiled(hours: SendingHours) -> Hours:
    """Return checked sending hours, compiled.

    A zone that is known no more, since this machine's list is another one, is taken for UTC.
    """
    zone = find_zone(hours.time_zone) or ZoneInfo("UTC")
    return Hours([_window(text) for text in hours.windows], zone)


def find_zone(name: str) -> ZoneInfo | None:
    """Return a time zone by its IANA name; None where there is none."""
    if not name.isascii() or not name[:1].isalpha() or name != name.strip() or len(name) > 100:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return None


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC)


def _eight_years() -> Iterator[date]:
    """Yield days enough that one of them is any day that a calendar may hold, weekdays aside."""
    return (date(2024, 1, 1) + ahead * _DAY for ahead in range(_AHEAD_DAYS))


@lru_cache(maxsize=1024)
def _window(text: str) -> _Window:
    """Read a cron expression.

    Raises:
        ValueError: says what is wrong with it.
    """
    parts = text.lower().split()
    if len(text) > WINDOW_MAX or len(parts) != len(_FIELDS):
        raise ValueError("must be minute, hour, day, month and weekday, as * 8-17 * * mon-fri")
    minutes, hours, days, months, weekdays = (
        _field(part, *field) for part, field in zip(parts, _FIELDS, strict=True)
    )
    return _Window(
        minutes,
        hours,
        days,
        months,
        frozenset(day % 7 for day in weekdays),
        either=not parts[2].startswith("*") and not parts[4].startswith("*"),
    )


def _field(text: str, name: str, lowest: int, highest: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if "/" in part and not (step.isdecimal() and step.isascii() and 0 < int(step[:4]) < 100):
            raise ValueError(f"{name}: {part!r} has no step from 1 to 99")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = lowest, highest
        else:
            low = _number(first, name, lowest, highest)
            high = _number(last, name, lowest, highest) if dash else low
            if step and not dash:
                high = highest
        if dash and name == "weekday" and high == 0:
            high = 7  # a week may end with its Sunday
        if low > high:
            raise ValueError(f"{name}: {part!r} ends before it begins")
        found.update(range(low, high + 1, int(step) if step else 1))
    return frozenset(found)


def _number(text: str, name: str, lowest: int, highest: int) -> int:
    named = _NAMES.get(name, {}).get(text)
    if named is not None:
        return named
    if not (text.isascii() and text.isdecimal() and len(text) <= 2):
        raise ValueError(f"{name}: {text!r} is no number from {lowest} to {highest}")
    number = int(text)
    if not lowest <= number <= highest:
        raise ValueError(f"{name}: {text!r} is no number from {lowest} to {highest}")
    return number
