"""Chains in the database: read by key, found again when parked, cut where one is blocked."""

import pytest
from sqlalchemy import delete, insert, select, text, update

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.model.delivery import PARKED, BlockedKey, DeliveryClass
from waypost.model.event import Attributes
from waypost.model.ids import Id
from waypost.model.subscription import OnOrderFailure, Ordering, Subscription
from waypost.policy.chains import FIRST, Asked
from waypost.policy.waits import Chained
from waypost.storage import blocked_keys, chains, queue, schema
from waypost.storage.queue import LaneHead, LaneWanted

NOW_US = 2**60
"""Behind everything that is made here."""


def owe(records: Records, to: Subscription, key: str | None, sequence: int | None) -> Id:
    attributes = Attributes(ordering_key=key)
    return records.pending(records.event(attributes=attributes, sequence=sequence), to)


def ask(
    *wanted: str, strict: bool = False, busy: tuple[str, ...] = (), behind: str | None = None
) -> Asked:
    return Asked(strict, frozenset(busy), wanted, behind, 2)


def head(records: Records, of: Subscription, asked: Asked, *known: Id, most: int = 50) -> LaneHead:
    wanted = LaneWanted(of.project_id, of.id, most, known, asked, NOW_US)
    [found] = queue.read_heads(records.connection, [wanted], payload_max=1_000)
    return found


def shape(found: LaneHead) -> dict[str, list[Id]]:
    return {key: [row.owed.id for row in rows] for key, rows in found.chains.items()}


def park(records: Records, of: Subscription, *delivery_ids: Id) -> None:
    chains.park(records.connection, of.project_id, of.id, delivery_ids, now_us=77)


def change(records: Records, delivery_id: Id, **values: int) -> None:
    owed = schema.queue
    records.connection.execute(update(owed).where(owed.c.id == delivery_id).values(**values))


def classes(records: Records) -> dict[Id, int]:
    found = records.connection.execute(select(schema.queue.c.id, schema.queue.c["class"]))
    return {row[0]: row[1] for row in found}


def guarded(records: Records, mode: Ordering = Ordering.KEY) -> Subscription:
    return records.subscription(ordering=mode, on_order_failure=OnOrderFailure.BLOCK)


def block(of: Subscription, key: str, sequence: int, delivery_id: Id) -> BlockedKey:
    place = (of.project_id, of.id, key, sequence)
    return BlockedKey(*place, delivery_id, delivery_id, 5)


def test_of_each_key_that_is_found_the_chain_is_read_by_sequence(records: Records) -> None:
    one = records.subscription(ordering=Ordering.KEY)
    other = records.subscription(ordering=Ordering.KEY)
    third, first, second = (owe(records, one, "a", n) for n in (30, 10, 20))
    lone = owe(records, one, "b", 15)
    unkeyed = owe(records, one, None, None)
    owe(records, other, "a", 5)
    found = head(records, one, ask())
    assert shape(found) == {"a": [first, second, third], "b": [lone]}
    assert [row.owed.id for row in found.rows] == [unkeyed]
    assert set(found.parkable) == {second, third}


def test_the_chains_of_busy_keys_are_not_read(records: Records) -> None:
    one = records.subscription(ordering=Ordering.KEY)
    known, follower = owe(records, one, "a", 1), owe(records, one, "a", 2)
    found = head(records, one, ask(busy=("a",)), known)
    assert (shape(found), found.parkable) == ({}, [follower])


def test_what_is_parked_is_found_by_its_key_alone(records: Records) -> None:
    one = records.subscription(ordering=Ordering.KEY)
    parked = [owe(records, one, "a", n) for n in (1, 2)]
    park(records, one, *parked)
    assert shape(head(records, one, ask())) == {}
    assert shape(head(records, one, ask("a"))) == {"a": parked}
    kinds = {row.owed.kind for row in head(records, one, ask("a")).chains["a"]}
    assert kinds == {DeliveryClass.FRESH}


def test_all_keys_are_looked_for_page_by_page(records: Records) -> None:
    one = records.subscription(ordering=Ordering.KEY)
    park(records, one, *(owe(records, one, key, n) for n, key in enumerate("cabde", 1)))
    seen: list[str] = []
    behind: str | None = FIRST
    while behind is not None:
        found = head(records, one, ask(behind=behind))
        seen += found.chains
        behind = found.behind
    assert sorted(seen) == list("abcde")


def test_a_strict_subscription_has_one_chain_of_all(records: Records) -> None:
    one = records.subscription(ordering=Ordering.STRICT)
    second, first = owe(records, one, "b", 2), owe(records, one, "a", 1)
    third = owe(records, one, None, 3)
    found = head(records, one, ask(strict=True))
    assert (found.rows, shape(found)) == ([], {"": [first, second, third]})
    assert shape(head(records, one, ask(strict=True, busy=("",)))) == {}


def test_what_has_no_place_goes_before_the_chain_of_a_strict_one(records: Records) -> None:
    one = records.subscription(ordering=Ordering.STRICT)
    owe(records, one, "a", 1)
    early, later = owe(records, one, None, None), owe(records, one, "a", None)
    assert shape(head(records, one, ask(strict=True))) == {"": [early, later]}


def test_what_is_put_off_stands_in_nobodys_way_until_it_is_due(records: Records) -> None:
    one = records.subscription(ordering=Ordering.STRICT)
    first = owe(records, one, "a", 1)
    put_off = owe(records, one, None, None)
    due_us = NOW_US + 5
    change(records, put_off, due_us=due_us)
    found = head(records, one, ask(strict=True))
    assert (shape(found), found.rows, found.cut_us) == ({"": [first]}, [], due_us)
    change(records, put_off, attempts=1)
    assert shape(head(records, one, ask(strict=True))) == {"": [put_off]}, "it was tried: it holds"
    change(records, put_off, attempts=0, due_us=NOW_US)
    assert shape(head(records, one, ask(strict=True))) == {"": [put_off]}


def test_what_has_no_place_waits_behind_a_block_as_well(records: Records) -> None:
    one = guarded(records, Ordering.STRICT)
    early, blocking, late = (owe(records, one, None, None) for _ in range(3))
    numbered = owe(records, one, "a", 1)
    assert blocked_keys.block(records.connection, block(one, "", 0, blocking), attempts=0)
    assert shape(head(records, one, ask(strict=True))) == {"": [early, blocking]}
    for done in (early, blocking):
        records.connection.execute(delete(schema.queue).where(schema.queue.c.id == done))
    assert shape(head(records, one, ask(strict=True))) == {}
    assert blocked_keys.release(records.connection, one.project_id, one.id, "")
    assert shape(head(records, one, ask(strict=True))) == {"": [late]}
    assert classes(records) == {late: 0, numbered: 0}


def test_a_blocked_chain_ends_at_its_block(records: Records) -> None:
    one = guarded(records)
    first, second, third = (owe(records, one, "a", n) for n in (1, 2, 3))
    assert blocked_keys.block(records.connection, block(one, "a", 2, second), attempts=0)
    assert shape(head(records, one, ask())) == {"a": [first, second]}
    assert blocked_keys.block(records.connection, block(one, "a", 1, first), attempts=0)
    assert shape(head(records, one, ask())) == {"a": [first]}
    assert blocked_keys.block(records.connection, block(one, "a", 3, third), attempts=0)
    assert shape(head(records, one, ask())) == {"a": [first]}


def test_a_blocked_chain_tells_by_which_event(records: Records) -> None:
    for ordering, key in ((Ordering.KEY, "a"), (Ordering.STRICT, "")):
        one = guarded(records, ordering)
        first, second = (owe(records, one, "a", n) for n in (1, 2))
        assert blocked_keys.block(records.connection, block(one, key, 1, first), attempts=0)
        assert head(records, one, ask(strict=not key)).blocks == {key: first}
        place = (records.connection, one.project_id, one.id, key)
        assert not blocked_keys.release(*place, by=second)
        assert blocked_keys.release(*place, by=first)
        assert head(records, one, ask(strict=not key)).blocks == {}


def test_a_delivery_that_was_settled_otherwise_blocks_nothing(records: Records) -> None:
    one = guarded(records)
    owed = owe(records, one, "a", 1)
    assert not blocked_keys.block(records.connection, block(one, "a", 1, owed), attempts=1)
    assert not blocked_keys.block(records.connection, block(one, "a", 1, b"x" * 16), attempts=0)
    assert shape(head(records, one, ask())) == {"a": [owed]}


@pytest.mark.parametrize("key", ["a", ""])
def test_a_release_makes_the_first_be_found(records: Records, key: str) -> None:
    mode = Ordering.KEY if key else Ordering.STRICT
    one, other = guarded(records, mode), guarded(records, mode)
    first, second = (owe(records, one, "a", n) for n in (2, 3))
    blocked_keys.block(records.connection, block(one, key, 1, first), attempts=0)
    park(records, one, first, second)
    place = (records.connection, one.project_id)
    assert not blocked_keys.release(*place, other.id, key)
    assert not blocked_keys.release(records.connection, records.other, one.id, key)
    assert blocked_keys.release(*place, one.id, key)
    assert not blocked_keys.release(*place, one.id, key)
    assert classes(records) == {first: 0, second: PARKED}


def test_nothing_is_parked_where_there_is_no_order(records: Records) -> None:
    one, gone = records.subscription(), records.subscription(ordering=Ordering.KEY)
    owed = owe(records, one, "a", 1)
    park(records, one, owed)
    records.connection.execute(text("DELETE FROM subscriptions WHERE id = :id"), {"id": gone.id})
    park(records, gone, owed)
    assert classes(records) == {owed: 0}


def test_a_parked_retry_is_due_when_its_turn_comes(records: Records) -> None:
    one = records.subscription(ordering=Ordering.KEY)
    tried, fresh = owe(records, one, "a", 1), owe(records, one, "a", 2)
    records.connection.execute(
        text("UPDATE queue SET class = 1, attempts = 2, due_us = 9999 WHERE id = :id"),
        {"id": tried},
    )
    park(records, one, tried, fresh)
    rows = head(records, one, ask("a")).chains["a"]
    assert [(row.owed.kind, row.owed.attempts) for row in rows] == [
        (DeliveryClass.RETRY, 2),
        (DeliveryClass.FRESH, 0),
    ]
    assert rows[0].owed.due_us == 77
    place = (records.connection, one.project_id, one.id)
    assert chains.unpark(*place, keyless=True, most=10) == 0
    assert chains.unpark(*place, keyless=False, most=1) == 1
    assert sorted(classes(records).values()) in ([0, PARKED], [1, PARKED])
    assert chains.unpark(*place, keyless=False, most=10) == 1
    assert classes(records) == {tried: 1, fresh: 0}
    assert chains.unpark(*place, keyless=False, most=10) == 0


def test_what_has_no_key_is_unparked_by_itself(records: Records) -> None:
    one, other = (records.subscription(ordering=Ordering.STRICT) for _ in range(2))
    keyed, keyless = owe(records, one, "a", 1), owe(records, one, None, 2)
    theirs = owe(records, other, None, 3)
    park(records, one, keyed, keyless)
    park(records, other, theirs)
    assert chains.unpark(records.connection, records.other, one.id, keyless=True, most=9) == 0
    assert chains.unpark(records.connection, one.project_id, one.id, keyless=True, most=9) == 1
    assert classes(records) == {keyed: PARKED, keyless: 0, theirs: PARKED}


def test_a_delivery_that_is_made_later_takes_the_place_of_its_event(records: Records) -> None:
    one = records.subscription(ordering=Ordering.KEY)
    later = owe(records, one, "a", 2)
    replayed = owe(records, one, "a", 1)
    assert shape(head(records, one, ask())) == {"a": [replayed, later]}


def test_the_place_in_a_chain_is_told(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    one, whole = guarded(records), records.subscription()
    second, first = owe(records, one, "a", 2), owe(records, one, "a", 1)
    twin = owe(records, one, "a", 2)
    owe(records, one, "b", 1)
    keyless = owe(records, one, None, 4)

    def place(delivery_id: Id, mode: Ordering = Ordering.KEY, of: Subscription = one) -> object:
        return chains.find_place(records.connection, records.project, of.id, mode, delivery_id)

    assert [place(each) for each in (first, second, twin)] == [Chained("a", n) for n in range(3)]
    # Of one number, the older delivery goes first.
    assert place(twin, Ordering.STRICT) == Chained(None, 3)
    assert place(keyless, Ordering.STRICT) == Chained(None, 4)
    assert [place(keyless), place(b"x" * 16), place(first, Ordering.NONE)] == [None] * 3
    assert place(owe(records, whole, "a", 1), of=whole) == Chained("a")
    blocked_keys.block(records.connection, block(one, "a", 1, first), attempts=0)
    assert place(first) == Chained("a")
    assert place(second) == Chained("a", 1, blocked=True)
    monkeypatch.setattr(chains, "COUNTED", 1)
    assert place(twin) == Chained("a", 1, exact=False, blocked=True)
    plans = plans_of(records.connection, lambda: [place(twin), place(twin, Ordering.STRICT)])
    assert walks(plans) == []


@pytest.mark.parametrize("mode", [Ordering.KEY, Ordering.STRICT])
def test_what_a_great_fan_out_has_still_to_bring_goes_first(
    records: Records, mode: Ordering
) -> None:
    one, other = records.subscription(ordering=mode), records.subscription(ordering=mode)
    is_strict = mode is Ordering.STRICT
    in_a = first, second, third = [owe(records, one, "a", n) for n in (1, 3, 5)]
    beside = owe(records, one, "b", 4)
    owe(records, other, "a", 3)

    def found(of: Subscription = one) -> dict[str, list[Id]]:
        return shape(head(records, of, ask("a", "b", strict=is_strict)))

    def bring(number: int, to: Subscription, key: str = "a", position: int = 0) -> None:
        event_id = records.ids.next()
        members = b"".join([records.ids.next(), to.id, records.ids.next()])
        place = {"project_id": records.project, "event_id": event_id, "position": position}
        records.connection.execute(
            insert(schema.fan_outs).values(
                **place, subscriptions=members, ordering_key=key, sequence=number
            )
        )

    def expected(*of_a: Id) -> dict[str, list[Id]]:
        return {"": list(of_a)} if is_strict else {"a": list(of_a), "b": [beside]}

    everything = expected(first, second, beside, third) if is_strict else expected(*in_a)
    assert found() == everything
    bring(2, other)
    bring(2, one, position=2)
    assert found() == everything, "it has brought it, or is for another"
    bring(4, one)
    assert found() == expected(first, second)
    bring(2, one)
    assert found() == expected(first)
    assert found(other) == {}
    records.connection.execute(delete(schema.fan_outs))
    bring(2, one, key="c")
    bring(9, one)
    assert found() == (expected(first) if is_strict else everything)
    plans = plans_of(records.connection, found)
    assert walks(plans) == []
