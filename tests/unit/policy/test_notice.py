"""The notice of a delivery that was given up."""

import msgspec
import pytest

from waypost.model import ids
from waypost.model.event import Attributes, Event
from waypost.model.subscription import End
from waypost.policy import notice
from waypost.policy.notice import GivenUp, Tried
from waypost.policy.outcome import Outcome, OutcomeKind


@pytest.mark.parametrize("triggers, named", [(None, "503"), (frozenset({"5xx"}), "5xx")])
def test_it_has_every_field(triggers: frozenset[str] | None, named: str) -> None:
    subscription_id, event_id = ids.make(1, 1), ids.make(2, 2)
    made = notice.render(
        GivenUp(
            subscription_id,
            event_id,
            Outcome(OutcomeKind.FAILED, 503, b"busy"),
            triggers,
            1_700_000_000_000_001,
            4,
            diverted=True,
            suspended=False,
        )
    )
    assert msgspec.json.decode(made) == {
        "type": "delivery.failed",
        "subscription": ids.spell(ids.SUBSCRIPTION, subscription_id),
        "event": ids.spell(ids.EVENT, event_id),
        "failure_trigger": named,
        "failure_message": "status 503: busy",
        "failure_timestamp": "2023-11-14T22:13:20.000001Z",
        "attempts": 4,
        "diverted": True,
        "suspended": False,
    }


def test_a_try_is_told_with_every_field() -> None:
    one, two, three, four, five = (ids.make(n, n) for n in range(1, 6))
    tried = Tried(
        end=End.RETRIED,
        project_id=one,
        subscription_id=two,
        endpoint_id=None,
        event_id=three,
        delivery_id=four,
        attempt_id=five,
        number=2,
        url="http://x",
        outcome=Outcome(OutcomeKind.FAILED, 0, b"refused"),
        started_us=1,
        ended_us=2,
        retry_at_us=3,
        reason=None,
    )
    event = Event(one, three, "a.b", b"{}", Attributes(idempotency_key="k"), 1)
    assert msgspec.json.decode(notice.render_try(tried, event)) == {
        "end": "retried",
        "project": ids.spell_uuid(one),
        "subscription": ids.spell_uuid(two),
        "endpoint": None,
        "event": ids.spell_uuid(three),
        "event_type": "a.b",
        "idempotency_key": "k",
        "delivery": ids.spell_uuid(four),
        "attempt": ids.spell_uuid(five),
        "number": 2,
        "url": "http://x",
        "status_code": 0,
        "response": "refused",
        "started_at": "1970-01-01T00:00:00.000001Z",
        "ended_at": "1970-01-01T00:00:00.000002Z",
        "retry_at": "1970-01-01T00:00:00.000003Z",
        "reason": None,
    }
