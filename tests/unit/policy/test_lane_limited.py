"""A lane behind a gate: limited work waits in it, is no attempt, and costs one alarm for all."""

from waypost.model import ids
from waypost.model.flow import Breaker, RateLimit, Wait, Waits
from waypost.policy.lane import Lane
from waypost.policy.work import Work

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


def work(number: int) -> Work:
    return Work(ids.make(START + number, number), ids.make(START, number), 0, START, 0)


def lane(*, concurrency: int = 4) -> Lane:
    return Lane(concurrency, 100, empty=True)


def drain(one: Lane, now_us: int) -> list[Work]:
    started = []
    while (found := one.pop(now_us)) is not None:
        started.append(found)
    return started


def finish(one: Lane, done: Work) -> None:
    one.landed()
    one.leave(done.id)


def limited(one: Lane, limit: RateLimit | None = None) -> Lane:
    one.gate.set(limit or RateLimit(1, 10), Breaker(min_requests=2, open_s=60), None)
    return one


def test_a_limited_lane_starts_one_for_each_token_and_has_one_alarm_for_all() -> None:
    one = limited(lane(concurrency=8))
    for n in range(1, 6):
        assert one.take(work(n)) is False
        one.push(work(n), START)
    assert one.pop(START) is None
    for n in range(1, 6):
        free_us = one.wake_at(START + (n - 1) * 10 * SECOND)
        assert free_us == START + n * 10 * SECOND
        assert one.pop(free_us - 1) is None
        assert one.pop(free_us) is not None
        assert one.pop(free_us) is None
    assert one.wake_at(START + 50 * SECOND) is None


def test_a_start_that_came_to_nothing_costs_no_token() -> None:
    one = limited(lane())
    one.push(work(1), START)
    assert one.wake_at(START) == START + 10 * SECOND
    found = one.pop(START + 10 * SECOND)
    assert found is not None
    one.put_back(found)
    assert one.pop(START + 10 * SECOND) is found


def test_an_open_breaker_stops_the_lane_and_lets_it_ramp_up() -> None:
    one = limited(lane(concurrency=4), RateLimit(100_000))
    one.gate.set(None, Breaker(min_requests=2, open_s=60, probes=2), None)
    for n in range(8):
        one.push(work(n), START)
    first = drain(one, START)
    for each in first:
        one.landed()
        one.failed(START, started_us=START, slow_down=False, retry_after_s=None)
        one.retry(each, START, START)
    assert one.waits(START) == Waits(Wait.BREAKER_OPEN, START + 60 * SECOND)
    assert drain(one, START + 60 * SECOND - 1) == []
    assert one.wake_at(START) == START + 60 * SECOND
    widths = []
    for _ in range(3):
        started = drain(one, START + 60 * SECOND)
        widths.append(len(started))
        finish(one, started[0])
        one.succeeded()
        for each in started[1:]:
            finish(one, each)
    assert widths == [1, 2, 4]
    assert one.gate.clear


def test_tells_what_it_waits_for_where_something_waits() -> None:
    one = limited(lane())
    assert one.waits(START) is None
    one.push(work(1), START)
    assert one.waits(START) == Waits(Wait.RATE_LIMIT, START + 10 * SECOND)
    one.paused = True
    assert one.waits(START) == Waits(Wait.PAUSED)
    one.paused = False
    assert one.pop(START + 10 * SECOND) is not None
    assert one.waits(START + 10 * SECOND) is None


def test_work_that_is_limited_does_not_count_as_late() -> None:
    one = lane()
    one.push(work(1), START)
    assert one.oldest_due() == START
    assert limited(one).oldest_due() is None


def test_what_the_database_holds_for_later_is_looked_for_when_it_is_due() -> None:
    one = lane()
    one.know_later(START + 60 * SECOND)
    one.know_later(START + 90 * SECOND)
    assert not one.is_idle()
    assert one.needs_refill() is False
    assert one.wake_at(START) == START + 60 * SECOND
    assert one.has_ready(START + 60 * SECOND) is False
    assert one.needs_refill() is True
