"""Late settlements: two owners of one delivery, and answers that were lost."""

from collections.abc import Iterator

import msgspec
import pytest

from tests.support import database, postgres
from tests.support.hot import PROJECT, SUBSCRIPTION, Hot, delivery, event, hot_of
from waypost.model import ids
from waypost.model.delivery import AttemptState, DeliveryState, Timings
from waypost.storage.changes import Settlement
from waypost.storage.postgres import late


@pytest.fixture
def hot() -> Iterator[Hot]:
    with postgres.fresh(database.fill) as url, hot_of(url) as opened:
        yield opened


def tried(
    number: int,
    state: DeliveryState | None,
    *,
    attempts: int = 0,
    epoch: int = 0,
    took_us: int = 1,
) -> Settlement:
    """Return what became of a try; no state: it is tried again."""
    success = state is DeliveryState.DELIVERED
    final = None
    if state is not None:
        place = (PROJECT, event(number), delivery(number), SUBSCRIPTION)
        final = (*place, int(state), attempts + 1, 1_000 + took_us, None)
    return Settlement(
        PROJECT,
        event(number),
        delivery(number),
        attempts,
        (
            *(PROJECT, event(number), ids.attempt_of(delivery(number), attempts + 1, number)),
            *(delivery(number), SUBSCRIPTION, attempts + 1),
            int(AttemptState.SUCCESS if success else AttemptState.FAILED),
            *(200 if success else 500, b"", None),
            *(msgspec.msgpack.encode(Timings(total_us=took_us)), 0),
        ),
        lambda _: None,
        delivery=final,
        retry_at_us=None if state is not None else 77,
        epoch=epoch,
    )


def left(hot: Hot) -> tuple[int, int, int]:
    """Return how many rows queue, deliveries and attempts have."""
    return len(hot.rows("queue")), len(hot.rows("deliveries")), len(hot.rows("attempts"))


STATES = [DeliveryState.DELIVERED, DeliveryState.FAILED, None]


@pytest.mark.parametrize("state", STATES)
def test_what_was_written_although_the_answer_was_lost_is_not_late(
    hot: Hot, state: DeliveryState | None
) -> None:
    hot.owe([1])
    one = tried(1, state)
    hot.settle([one])
    before = left(hot)
    hot.settle([one])
    assert not one.late
    assert left(hot) == before


@pytest.mark.parametrize("state", [DeliveryState.FAILED, None])
def test_what_a_former_owner_did_not_deliver_is_only_recorded(
    hot: Hot, state: DeliveryState | None
) -> None:
    hot.owe([1])
    hot.connection.exec_driver_sql("UPDATE shards SET epoch = 1 WHERE shard = 0")
    former = tried(1, state, epoch=0)
    hot.settle([former])
    assert former.late
    assert hot.rows("queue", "attempts, class") == [(0, 0)]
    assert left(hot) == (1, 0, 1)
    assert hot.rows("attempts", "id") == [(late.own_id(former),)]
    present = tried(1, state, epoch=1, took_us=2)
    hot.settle([present])
    assert not present.late
    assert left(hot)[2] == 2


def test_what_a_former_owner_delivered_is_delivered(hot: Hot) -> None:
    hot.owe([1, 2])
    hot.connection.exec_driver_sql("UPDATE shards SET epoch = 1 WHERE shard = 0")
    first = tried(1, DeliveryState.DELIVERED)
    # Between it and its answer, the new owner has failed once.
    between = tried(2, None, epoch=1, took_us=2)
    second = tried(2, DeliveryState.DELIVERED)
    hot.settle([first, between])
    hot.settle([second])
    assert not any(one.late for one in (first, between, second))
    assert hot.rows("queue") == []
    found = hot.rows("deliveries", "id, state, attempts")
    assert found == [(delivery(1), 1, 1), (delivery(2), 1, 2)]
    attempts = hot.rows("attempts", "id, number, state")
    assert attempts == sorted([(delivery(2), 1, 2), (late.own_id(second), 2, 1)])


def test_two_owners_that_both_deliver_are_one_delivery_and_two_attempts(hot: Hot) -> None:
    hot.owe([1])
    one, other = tried(1, DeliveryState.DELIVERED), tried(1, DeliveryState.DELIVERED, took_us=2)
    hot.settle([one])
    hot.settle([other])
    hot.settle([other])
    assert (one.late, other.late) == (False, True)
    assert hot.rows("deliveries", "finished_us") == [(1_001,)]
    assert hot.rows("attempts", "id, delivery_id") == [(late.own_id(other), delivery(1))]


def test_some_of_a_batch_may_be_late(hot: Hot) -> None:
    hot.owe([1, 3, 5])
    batch = [tried(n, state) for n in range(1, 7) for state in [STATES[n % 3]]]
    hot.settle(batch)
    assert [one.late for one in sorted(batch, key=lambda s: s.delivery_id)] == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]
    assert len(hot.rows("deliveries")) + len(hot.rows("queue")) == 3


def test_an_id_of_its_own_is_always_the_same_and_keeps_its_time() -> None:
    one, other = tried(1, None), tried(1, None, took_us=2)
    assert late.own_id(one) == late.own_id(tried(1, None)) != late.own_id(other)
    assert ids.moment(late.own_id(one)) == ids.moment(delivery(1))
