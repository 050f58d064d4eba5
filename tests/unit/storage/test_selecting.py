"""What a selection reads goes by keys, and tells the last state of each pair."""

from typing import Any

import pytest
from sqlalchemy import insert

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.model import ids
from waypost.model.delivery import DeliveryState
from waypost.model.event import Attributes
from waypost.model.replay import Order, PastState, Plan, Replay, ReplayKind, Route
from waypost.storage import diverted, replays, selecting
from waypost.storage.schema import fan_outs
from waypost.storage.selecting import Past, Selection


def test_the_last_delivery_of_each_pair_is_told(records: Records) -> None:
    one, two = records.subscription(), records.subscription()
    first, second = records.event(), records.event()
    records.ended(first, one, DeliveryState.FAILED)
    records.ended(first, one, DeliveryState.DELIVERED)
    records.ended(first, two, DeliveryState.CANCELLED)
    gone = records.ended(second, two, DeliveryState.FAILED)
    place = (records.connection, records.project)
    expected = [
        Past(first, one.id, PastState.DELIVERED),
        Past(first, two.id, PastState.CANCELLED),
        Past(second, two.id, PastState.DIVERTED),
    ]
    assert selecting.read_past(*place, [first, second]) == expected
    assert selecting.read_past(*place, [first, second], two.id) == expected[1:]
    assert selecting.read_past(*place, []) == []
    assert selecting.read_past(records.connection, records.other, [first]) == []
    diverted.delete(*place, gone)
    [left] = selecting.read_past(*place, [second])
    assert left.state is PastState.FAILED


def test_what_is_owed_or_about_to_be_is_pending(records: Records) -> None:
    one, two = records.subscription(), records.subscription()
    first, second = records.event(), records.event()
    records.pending(first, one)
    records.connection.execute(
        insert(fan_outs).values(
            project_id=records.project,
            event_id=second,
            subscriptions=one.id + two.id,
            position=1,
        )
    )
    place = (records.connection, records.project)
    assert selecting.read_pending(*place, [first]) == {(first, one.id)}
    spreading = {(second, one.id), (second, two.id)}
    assert selecting.read_pending(*place, [first, second]) == {(first, one.id), *spreading}
    assert selecting.read_spreading(*place, [first, second]) == spreading
    assert selecting.read_pending(*place, []) == set()


@pytest.mark.parametrize(
    "route, types, taken",
    [
        (Route.TO, (), ["card.created"]),
        (Route.TO, ("*",), ["card.created"]),
        (Route.TO, ("waypost.*",), ["waypost.breaker.opened"]),
        (Route.AS_BEFORE, (), ["card.created", "waypost.breaker.opened"]),
        (Route.AFRESH, (), ["card.created", "waypost.breaker.opened"]),
    ],
)
def test_who_need_not_have_asked_is_sent_no_system_events(
    records: Records, route: Route, types: tuple[str, ...], taken: list[str]
) -> None:
    for kind in ("card.created", "waypost.breaker.opened"):
        records.event(kind)
    plan = Plan(route=route, event_types=types)
    place = (records.project, records.ids.next(), ReplayKind.SELECTED, None, 1, 2**57)
    found = selecting.read_slice(
        records.connection, Replay(*place, plan=plan), with_payload=False
    ).found
    assert [event.type for event in found] == taken


def test_each_look_goes_by_keys(records: Records) -> None:
    one = records.subscription()
    event_id = records.event()
    for order in Order:
        at = ids.FIRST if order is Order.OLDEST_FIRST else ids.LAST
        job = Replay(
            *(records.project, records.ids.next(), ReplayKind.SELECTED, None, 1, 2**57),
            position=at,
            plan=Plan(order=order),
        )

        def look(job: Replay = job) -> None:
            selecting.read_slice(records.connection, job, with_payload=True)
            selecting.read_past(records.connection, records.project, [event_id], one.id)
            selecting.read_pending(records.connection, records.project, [event_id])
            replays.foresee(records.connection, 1)
            replays.find_by_key(records.connection, records.project, "k")
            replays.read_bounds(records.connection, job)
            which = diverted.DivertedFilter(one.id, ("a.*",), "o")
            diverted.read_chunk(records.connection, records.project, which, ids.FIRST, ids.LAST)

        assert walks(plans_of(records.connection, look)) == []


@pytest.mark.parametrize("few", [0, 100])
def test_a_selection_is_counted(
    records: Records, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(selecting, "FEW", few)
    one, two = records.subscription(), records.subscription()
    source, other = records.ids.next(), records.ids.next()
    made: list[ids.Id] = []
    for kind, to in (
        (Attributes(owner="o", source=source), (one, one)),
        (Attributes(metadata={"owner": "o"}, source=other), (one, two)),
        (Attributes(ordering_key="source", owner="o"), (two,)),
        (None, ()),
        (Attributes(), ()),
        (Attributes(path="x", endpoints=(source,)), (two,)),
    ):
        records.clock.forward(1)
        system = kind == Attributes()
        made.append(records.event("waypost.replay.finished" if system else "a", attributes=kind))
        for subscription in to:
            records.ended(made[-1], subscription, DeliveryState.DELIVERED)
    records.event(project_id=records.other)
    begin_us, end_us = ids.moment(made[0]), ids.moment(made[-1]) + 1

    def counted(only: ids.Id | None = None, **narrow: Any) -> int:
        selection = Selection(**{"begin_us": begin_us, "end_us": end_us} | narrow)
        return selecting.count(records.connection, records.project, selection, only)

    assert counted() == 5
    assert counted(begin_us=ids.moment(made[1]), end_us=ids.moment(made[3])) == 2
    assert counted(owner="o") == 2
    assert counted(owner="p") == 0
    assert counted(sources=(source,)) == 1
    assert counted(sources=(source, other)) == 2
    assert counted(among=(one.id,)) == 2
    assert counted(among=(one.id, two.id)) == 4
    assert counted(among=(records.ids.next(),)) == 0
    assert counted(among=(two.id,), owner="o") == 1
    assert counted(among=(one.id,), sources=(other,), begin_us=ids.moment(made[1])) == 1
    assert counted(made[0]) == 1
    assert counted(made[0], owner="o", among=(one.id,)) == 1
    assert counted(made[0], among=(two.id,)) == 0
    assert counted(made[0], begin_us=ids.moment(made[1])) == 0
    monkeypatch.setattr(selecting, "COUNTED_MAX", 1)
    assert counted() == counted(owner="o") == counted(among=(one.id, two.id)) == 1
    monkeypatch.setattr(selecting, "LOOKED_MAX", 1)
    assert counted(sources=(other,)) == 0


def test_counting_walks_through_no_table(records: Records) -> None:
    one = records.subscription()
    records.ended(records.event(), one, DeliveryState.DELIVERED)
    for selection in (
        Selection(1, 2**57),
        Selection(1, 2**57, "o", (one.id,)),
        Selection(1, 2**57, among=(one.id,)),
    ):

        def look(selection: Selection = selection) -> None:
            selecting.count(records.connection, records.project, selection)

        assert walks(plans_of(records.connection, look)) == []
