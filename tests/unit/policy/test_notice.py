"""The notice of a delivery that was given up."""

import msgspec
import pytest

from waypost.model import ids
from waypost.policy import notice
from waypost.policy.notice import GivenUp
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
