"""How a job stands on the wire."""

import msgspec
import pytest

from waypost.api.replays import RangeIn, shape
from waypost.model import ids
from waypost.model.replay import Replay, ReplayKind, ReplayState

MADE_US = 1_800_000_000_000_000
REPLAY = Replay(
    ids.FIRST,
    ids.make(MADE_US, 1),
    ReplayKind.MISSING,
    ids.LAST,
    0,
    MADE_US,
    state=ReplayState.DONE,
    owed=3,
)


def test_a_job_is_shown_with_its_progress() -> None:
    assert msgspec.json.decode(msgspec.json.encode(shape(REPLAY))) == {
        "token": ids.spell(ids.REPLAY, REPLAY.id),
        "created": "2027-01-15T08:00:00Z",
        "kind": "replay_missing",
        "event_subscription_token": ids.spell(ids.SUBSCRIPTION, ids.LAST),
        "begin": None,
        "end": "2027-01-15T08:00:00Z",
        "state": "done",
        "owed": 3,
        "looked_at": 0,
        "progress": 1.0,
        "estimated_end": None,
        "filter": {},
        "route": None,
        "rate": None,
        "order": "oldest_first",
    }


def test_a_range_with_a_beginning_shows_it() -> None:
    begin = shape(msgspec.structs.replace(REPLAY, begin_us=MADE_US)).begin
    assert begin == shape(REPLAY).end


@pytest.mark.parametrize(
    "body", [b'{"begin": "2026-01-01"}', b'{"begin": "2026-01-01T00:00:00"}', b'{"until": null}']
)
def test_a_range_in_a_body_is_of_moments(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=RangeIn)
