"""How pruning stands on the wire."""

from datetime import UTC, datetime

import msgspec
import pytest

from waypost.api.retention import PruneIn, PruneOut, _micros
from waypost.model.errors import InvalidInput


def test_all_of_it_may_be_left_out() -> None:
    assert msgspec.json.decode(b"{}", type=PruneIn) == PruneIn()


@pytest.mark.parametrize(
    "body",
    [b'{"before": "2026-01-01"}', b'{"before": 1}', b'{"owed": true}', b'{"dry_run": 1}'],
)
def test_what_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=PruneIn)


def test_an_answer_tells_where_to_go_on() -> None:
    answer = PruneOut({"events": 2}, [], {"20270115..20270115": "owed"}, "abc")
    assert msgspec.json.decode(msgspec.json.encode(answer)) == {
        "rows": {"events": 2},
        "dropped_partitions": [],
        "kept_partitions": {"20270115..20270115": "owed"},
        "position": "abc",
    }


def test_moments_are_microseconds_inside() -> None:
    assert _micros("before", None) is None
    assert _micros("before", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1_000_000
    assert _micros("before", datetime(1900, 1, 1, tzinfo=UTC)) == 0


def test_a_moment_beyond_the_calendar_is_refused() -> None:
    body = msgspec.json.decode(b'{"before": "0001-01-01T00:00:00+10:00"}', type=PruneIn)
    with pytest.raises(InvalidInput):
        _micros("before", body.before)
