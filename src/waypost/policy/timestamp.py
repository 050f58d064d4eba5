"""Moments as RFC 3339 text at the edge, as UTC microseconds since 1970 inside."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""What msgspec reads from RFC 3339 text: never without an offset."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST_US: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST_US: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def microseconds(moment: datetime) -> int:
    """Return an aware moment as UTC microseconds since 1970.

    Raises:
        ValueError: in UTC it lies outside the years 1 to 9999, so it could not be spelled again.
    """
    result = (moment - _EPOCH) // _MICROSECOND
    if not _FIRST_US <= result <= _LAST_US:
        raise ValueError("must lie in the years 1 to 9999, UTC")
    return result


def read(text: str) -> int:
    """Read RFC 3339 text, with an offset, as UTC microseconds since 1970; finer is rounded.

    Raises:
        ValueError: it is not one, or is a leap second.
    """
    try:
        return microseconds(msgspec.convert(text, Moment))
    except msgspec.ValidationError as error:
        raise ValueError("must be an RFC 3339 timestamp with an offset") from error


def spell(at_us: int) -> str:
    """Spell UTC microseconds since 1970 as RFC 3339 text: `2026-01-31T23:59:59.000001Z`."""
    moment = _EPOCH + timedelta(microseconds=at_us)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
