import pytest

from tests.torture.cast import CAST, GONE_AFTER, TYPES, Manners, Role
from tests.torture.ledger import HANGS


@pytest.mark.parametrize(
    "types, event_type, wanted",
    [
        (None, "any.thing", True),
        (("order.*",), "order.created", True),
        (("order.*",), "orders.created", False),
        (("order.created",), "order.created", True),
        (("order.created",), "order.deleted", False),
    ],
)
def test_a_role_wants_what_its_types_say(
    types: tuple[str, ...] | None, event_type: str, wanted: bool
) -> None:
    assert Role("any", types=types).wants(event_type) is wanted


def test_every_role_has_something_to_do() -> None:
    assert all(any(role.wants(kind) for kind in TYPES) for role in CAST)
    assert all(sum(role.wants(kind) for role in CAST) > 1 for kind in TYPES)


def test_a_flaky_receiver_fails_some_for_ever_and_some_for_a_while() -> None:
    manners = Manners()
    assert {manners.reply("flaky", "evt_1", 17).status for _ in range(9)} == {500}
    assert [manners.reply("flaky", "evt_2", 7).status for _ in range(3)] == [503, 503, 200]
    assert [manners.reply("flaky", "evt_3", 66).status for _ in range(2)] == [HANGS, 200]


def test_a_stumbling_receiver_fails_some_of_every_key() -> None:
    manners = Manners()
    of_key = range(2, 1000, 5)
    statuses = [manners.reply("stumbling", f"evt_{n}", n).status for n in of_key]
    again = [manners.reply("stumbling", f"evt_{n}", n).status for n in of_key]
    assert set(statuses) == {200, 500, 503}
    assert set(again) == {200, 500}


def test_a_receiver_that_goes_stays_away() -> None:
    manners = Manners()
    statuses = [manners.reply("gone", f"evt_{n}", n).status for n in range(GONE_AFTER + 2)]
    assert statuses == [200] * (GONE_AFTER - 1) + [410] * 3


def test_a_receiver_fails_until_it_is_mended() -> None:
    manners = Manners()
    assert manners.reply("mending", "evt_1", 1).status == 500
    manners.mended = True
    assert manners.reply("mending", "evt_1", 1).status == 200
