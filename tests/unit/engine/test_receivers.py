"""Receivers are made when there is work and forgotten when there are too many idle ones."""

import asyncio

import pytest
from msgspec.structs import replace

from tests.support.engine import Receivers as Network
from waypost.engine import receivers
from waypost.engine.receivers import Receivers
from waypost.engine.router import Router
from waypost.engine.sender import Sender
from waypost.engine.shards import all_shards
from waypost.model.subscription import DisabledBy, Signing, SigningKey, Subscription
from waypost.policy.format import NATIVE_FORMATS
from waypost.policy.work import Work

PROJECT = b"p" * 16


def subscription(number: int) -> Subscription:
    return Subscription(PROJECT, number.to_bytes(16), "https://x.example/")


class Room:
    """Receivers of a few subscriptions."""

    def __init__(self, count: int, limit: int) -> None:
        self.all = [subscription(n) for n in range(count)]
        self.router = Router()
        self.router.load({PROJECT: 1}, self.all)
        sender = Sender(asyncio.get_running_loop(), Network(), NATIVE_FORMATS)
        self.shards = all_shards()
        self.receivers = Receivers(self.router, sender, self.shards, window=10, limit=limit)

    def find(self, number: int, *, empty: bool = True) -> object:
        return self.receivers.find(PROJECT, self.all[number].id, empty=empty)


async def test_one_is_made_once() -> None:
    room = Room(1, 10)
    assert room.receivers.get(room.all[0].id) is None
    made = room.receivers.find(PROJECT, room.all[0].id, empty=False)
    assert made is not None
    assert not made.lane.complete
    assert room.find(0) is made is room.receivers.get(room.all[0].id)
    assert len(room.receivers) == 1
    room.receivers.drop(room.all[0].id)
    room.receivers.drop(room.all[0].id)
    again = room.receivers.find(PROJECT, room.all[0].id, empty=True)
    assert again is not None
    assert again.lane.complete


async def test_of_a_claimed_shard_it_is_not_known_to_be_owed_nothing_else() -> None:
    room = Room(2, 10)
    room.shards.unseen.add(1)
    here = room.receivers.find(PROJECT, room.all[0].id, empty=True)
    there = room.receivers.find(PROJECT, room.all[1].id, empty=True)
    assert here is not None
    assert there is not None
    assert (here.lane.complete, there.lane.complete) == (True, False)


@pytest.mark.parametrize("by", DisabledBy)
async def test_none_is_made_for_what_is_no_more(by: DisabledBy) -> None:
    room = Room(1, 10)
    room.router.apply(2, replace(room.all[0], disabled_by=by))
    assert room.find(0) is None
    room.router.remove(3, PROJECT, room.all[0].id)
    assert room.find(0) is None
    assert len(room.receivers) == 0


async def test_it_has_the_keys_of_its_subscription() -> None:
    room = Room(2, 10)
    key = SigningKey(b"k" * 16, Signing.HMAC, b"x")
    room.receivers.load({room.all[0].id: (key,)})
    assert room.receivers.address(room.all[0]).keys == (key,)
    assert room.receivers.address(room.all[1]).keys == ()


async def test_up_to_the_limit_none_is_forgotten() -> None:
    room = Room(5, 5)
    for n in range(5):
        room.find(n)
    room.receivers.forget_idle()
    assert len(room.receivers) == 5


async def test_only_idle_ones_are_forgotten_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receivers, "_LOOKED_AT", 4)
    room = Room(10, 3)
    for n in range(10):
        room.find(n, empty=n not in {0, 1, 5})
    for left in (8, 5, 3):
        room.receivers.forget_idle()
        assert len(room.receivers) == left
    for n in (0, 1, 5):
        assert room.receivers.get(room.all[n].id) is not None


async def test_one_whose_state_is_not_saved_is_kept() -> None:
    room = Room(1, 0)
    made = room.receivers.find(PROJECT, room.all[0].id, empty=True)
    assert made is not None
    made.failing_since_us = 7
    room.receivers.forget_idle()
    assert len(room.receivers) == 1
    room.router.refresh(replace(room.all[0], failing_since_us=7))
    room.receivers.forget_idle()
    assert len(room.receivers) == 0


async def test_what_they_know_of_is_told() -> None:
    room = Room(3, 10)
    waits = room.receivers.find(PROJECT, room.all[1].id, empty=True)
    reads = room.receivers.find(PROJECT, room.all[2].id, empty=False)
    assert waits is not None
    assert reads is not None
    work = Work(b"d" * 16, b"e" * 16, 0, 5, 0)
    waits.lane.push(work, 9)
    ids = [one.id for one in room.all]
    assert [room.receivers.know_work(one) for one in ids] == [False, True, False]
    assert [room.receivers.know(one, work.id) for one in ids] == [False, True, True]
    assert [room.receivers.know(one, b"x" * 16) for one in ids] == [False, False, True]
    assert [room.receivers.know(one, None) for one in ids] == [False, True, True]
    assert room.receivers.oldest_due() == 5
    assert [*room.receivers] == [waits, reads]


async def test_each_knows_under_which_epoch_its_shard_is_owned() -> None:
    room = Room(1, 10)
    room.shards.epochs[room.all[0].id[-1]] = 5
    made = room.receivers.find(PROJECT, room.all[0].id, empty=True)
    assert made is not None
    assert made.epoch == 5
