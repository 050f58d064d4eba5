from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from waypost.web import fast
from waypost.web.fast import Family, FastRequest, FastRoute, FastRoutes, Header, handle


class Kept(FastRequest):
    """A request that keeps its answers."""

    def __init__(self) -> None:
        super().__init__([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], b"body")
        self.answers: list[tuple[int, bytes, Sequence[Header], bytes]] = []

    def _send(
        self, status: int, body: bytes, headers: Sequence[Header], content_type: bytes
    ) -> None:
        self.answers.append((status, body, headers, content_type))


def refuse(status: int, message: str) -> bytes:
    return f"{status} {message}".encode()


def ignore(_request: FastRequest) -> None:
    pass


def route(path: bytes, method: bytes = b"POST") -> FastRoute:
    return FastRoute(method, path, ignore, 10, refuse)


def test_the_first_header_of_a_name_counts() -> None:
    request = Kept()
    assert request.header(b"a") == b"1"
    assert request.header(b"c") is None


def test_an_answer_is_given_once() -> None:
    request = Kept()
    request.respond(200, b"{}", ((b"x-a", b"\xe9"),), b"text/plain")
    assert request.answers == [(200, b"{}", ((b"x-a", b"\xe9"),), b"text/plain")]
    with pytest.raises(RuntimeError, match="once"):
        request.respond(200, b"{}")
    assert len(request.answers) == 1


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r", b"a\x00", b"\xe9"])
def test_a_name_is_a_token(name: bytes) -> None:
    request = Kept()
    with pytest.raises(ValueError, match="not a header"):
        request.respond(200, b"", ((name, b""),))
    assert not request.answered


@pytest.mark.parametrize("code", [*range(9), *range(10, 32), 127])
def test_a_value_has_no_control_characters(code: int) -> None:
    with pytest.raises(ValueError, match="not a header"):
        Kept().respond(200, b"", ((b"a", bytes([code])),))


def test_routes_are_found_by_method_and_exact_path() -> None:
    routes = FastRoutes()
    post, put = route(b"/a"), route(b"/a", b"PUT")
    routes.add(post)
    routes.add(put)
    assert routes.lookup(b"POST", b"/a") is post
    assert routes.lookup(b"PUT", b"/a") is put
    assert routes.lookup(b"GET", b"/a") is None
    assert routes.lookup(b"POST", b"/a/") is None
    assert routes.lookup(b"POST", b"/a?b") is None


@pytest.mark.parametrize("path", [b"/a", b"/b?c", b"b"])
def test_a_route_is_added_once_and_has_a_path(path: bytes) -> None:
    routes = FastRoutes()
    routes.add(route(b"/a"))
    with pytest.raises(ValueError, match="cannot add"):
        routes.add(route(path))


def test_refusals_look_as_on_the_path() -> None:
    routes = FastRoutes()
    routes.add(route(b"/a"))
    assert routes.refusal_for(b"/a?b") is refuse
    assert routes.refusal_for(b"/b") is None


def test_a_failing_handler_is_answered_for() -> None:
    def fail(_request: FastRequest) -> None:
        raise LookupError

    request = Kept()
    with capture_logs() as log:
        handle(FastRoute(b"POST", b"/a", fail, 10, refuse), request)
    assert request.answers[0][:2] == (500, b"500 Internal server error")
    assert log == [
        {
            "event": "request.failed",
            "exc_info": True,
            "log_level": "error",
            "method": "POST",
            "path": "/a",
        }
    ]


def test_a_family_has_a_route_for_each_name(routes_of_names: FastRoutes) -> None:
    found = routes_of_names.of_family(b"/p/x/events")
    assert found is not None
    assert found[b"POST"].path == b"/p/x/events"
    assert routes_of_names.of_family(b"/p/x/events") is found
    others = [
        b"/p/",
        b"/p//events",
        b"/p/x/y/events",
        b"/p/x/events?a",
        b"/p/%41/events",
        b"/events",
    ]
    for other in others:
        assert routes_of_names.of_family(other) is None, other


def test_no_more_names_are_remembered_than_there_may_be(
    routes_of_names: FastRoutes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "FAMILIES_MAX", 2)
    first = routes_of_names.of_family(b"/p/1/events")
    for name in (b"2", b"3"):
        routes_of_names.of_family(b"/p/%b/events" % name)
    assert routes_of_names.of_family(b"/p/1/events") is not first


@pytest.fixture
def routes_of_names() -> FastRoutes:
    """Have a family of one method."""

    def make(path: bytes, name: bytes) -> FastRoute:
        assert name in path
        return FastRoute(b"POST", path, lambda _: None, 1, lambda _, __: b"")

    found = FastRoutes()
    found.families.append(Family(b"POST", b"/p/", b"/events", make))
    return found
