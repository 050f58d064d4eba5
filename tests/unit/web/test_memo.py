import pytest

from waypost.web.fast import FastRequest, FastRoute
from waypost.web.memo import MAX_HEAD_BYTES, MAX_HEADS, KnownHeads


def ignore(_request: FastRequest) -> None:
    pass


ROUTE = FastRoute(b"POST", b"/a", ignore, 10, lambda _status, _message: b"")
HEADERS = [(b"content-length", b"2")]


def test_a_head_is_known_by_its_bytes() -> None:
    heads = KnownHeads()
    heads.learn(b"head\r\n\r\nhi", ROUTE, HEADERS, 2)
    assert list(heads.by_bytes) == [b"head"]
    known = heads.by_bytes[b"head"]
    assert (known.route, known.headers, known.length, known.size) == (ROUTE, tuple(HEADERS), 2, 10)
    assert known.context is None


@pytest.mark.parametrize(
    "request_",
    [
        b"head\r\n\r\nh",
        b"head\r\n\r\nhi!",
        b"head\r\n\r\nhihead\r\n\r\nhi",
        b"\r\n\r\nhead\r\n\r\nhi",
        b"hi",
        b"x" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\nhi",
    ],
)
def test_only_one_whole_request_is_learned_from(request_: bytes) -> None:
    heads = KnownHeads()
    heads.learn(request_, ROUTE, HEADERS, 2)
    assert heads.by_bytes == {}


def test_a_body_may_look_like_the_end_of_a_head() -> None:
    heads = KnownHeads()
    heads.learn(b"head\r\n\r\n\r\n\r\n\r\n\r\n", ROUTE, HEADERS, 8)
    assert list(heads.by_bytes) == [b"head"]


def test_heads_are_bounded() -> None:
    heads = KnownHeads()
    long = b"x" * MAX_HEAD_BYTES
    heads.learn(long + b"\r\n\r\n", ROUTE, HEADERS, 0)
    assert long in heads.by_bytes
    for number in range(MAX_HEADS):
        heads.learn(b"%d\r\n\r\n" % number, ROUTE, HEADERS, 0)
        assert len(heads.by_bytes) <= MAX_HEADS
    assert list(heads.by_bytes) == [b"%d" % (MAX_HEADS - 1)]
