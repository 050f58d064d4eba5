import pytest

from waypost.clock import SystemClock
from waypost.web.errors import ErrorCounts
from waypost.web.fast import FastRequest, FastRoute, FastRoutes
from waypost.web.framing import Refused
from waypost.web.front import HttpFront
from waypost.web.limits import HttpLimits


def ignore(_request: FastRequest) -> None:
    pass


def front() -> HttpFront:
    routes = FastRoutes()
    routes.add(FastRoute(b"POST", b"/a", ignore, 10, lambda status, _message: b"a %d" % status))
    return HttpFront(
        routes,
        HttpLimits(intake_bytes=2_000),
        refuse=lambda target, status, _message: (b"%b %d" % (target, status), [(b"x", b"y")]),
        clock=SystemClock(),
        errors=ErrorCounts(),
    )


def test_a_refusal_looks_as_on_its_path() -> None:
    assert front().refusal(b"/a?b", 400, "") == (b"a 400", ())
    assert front().refusal(b"/b?c", 400, "") == (b"/b?c 400", [(b"x", b"y")])
    assert front().refusal(b"", 400, "") == (b" 400", [(b"x", b"y")])


def test_who_waits_costs_more() -> None:
    shared = front()
    assert shared.take(0, behind=False) == 0
    assert shared.take(0, behind=True) == 1024
    assert shared.take(976, behind=False) == 976
    assert shared.take(0, behind=False) == 0
    with pytest.raises(Refused) as caught:
        shared.take(1, behind=False)
    assert caught.value.status == 503
    assert caught.value.headers == ((b"retry-after", b"1"),)
