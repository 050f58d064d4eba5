from math import isnan

from bench.healing import healed, judged, section
from bench.ledger import Ledger
from bench.report import verdict

S = 1_000_000_000


def ledger(*rows: tuple[int, float, float]) -> Ledger:
    """A ledger of (sequence, sent, received) in seconds."""
    made = Ledger()
    made.add_posted(
        (b"%d" % number, number, int(sent * S), int(sent * S), int(sent * S) + 1)
        for number, sent, _ in rows
    )
    made.add_received((b"%d" % number, b"%d" % number, int(at * S)) for number, _, at in rows)
    return made


def test_healed_is_when_each_subscription_has_something_that_was_sent_after_the_kill() -> None:
    both = ledger((0, 9.9, 30), (1, 9.9, 10.1), (2, 10.5, 10.6), (3, 10.5, 16), (5, 11, 17))

    found = healed(both, 10 * S, subscriptions=2)

    assert found.healed_s == 6
    assert found.silent == 1


def test_a_subscription_that_receives_nothing_more_is_never_healed() -> None:
    found = healed(ledger((2, 10.5, 10.6)), 10 * S, subscriptions=2)

    assert isnan(found.healed_s)
    assert found.silent == 1


def test_only_what_was_in_flight_at_a_kill_may_come_twice() -> None:
    books = ledger((0, 9, 9.5), (1, 5, 5.1))
    books.add_received([(b"0", b"0", 12 * S)])
    assert judged(books, [10 * S]) == []

    books.add_received([(b"1", b"1", 13 * S)])
    assert judged(books, [10 * S]) == ["1 doubled that were not in flight at a kill"]
    assert judged(books, [10 * S, int(5.2 * S)]) == []


def test_a_loss_is_never_excused() -> None:
    books = ledger((0, 9, 9.5))
    books.add_posted([(b"1", 1, 9 * S, 9 * S, 9 * S)])

    assert "1 lost" in judged(books, [10 * S])[0]


def test_the_worst_kill_is_judged_too() -> None:
    kills = [healed(ledger((0, 10, 10 + took)), 10 * S, 1) for took in (3, 4, 12.5)]

    figures = section("postgresql", kills, 10, doubled=0).figures

    assert [figure.values["postgresql"] for figure in figures[:2]] == [4, 12.5]
    assert [verdict(figure) for figure in figures[:2]] == ["ok", "MISSED"]
