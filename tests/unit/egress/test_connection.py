"""A connection against a transport that only takes notes: every split of an answer is one."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.egress.connection import HEAD_MAX, Connection, KnownAnswers
from waypost.model.exchange import FailureKind


class Wire(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False
        self.unsent = 0

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Notes:
    """A connection on a wire, and what it reported."""

    def __init__(
        self,
        body_max: int = 64,
        now: Callable[[], float] = lambda: 5.0,
        known: KnownAnswers | None = None,
    ) -> None:
        self.ends: list[tuple[object, ...]] = []
        self.wire = Wire()
        self.connection = Connection(
            now=now,
            known=known or KnownAnswers(),
            body_max=body_max,
            on_answer=lambda c: self.ends.append((c.status, c.body, c.reusable)),
            on_broken=lambda _c, kind, _text: self.ends.append((kind,)),
            on_lost=lambda _c, error: self.ends.append(("lost", error)),
        )
        self.connection.connection_made(self.wire)

    def exchange(self, *pieces: bytes) -> list[tuple[object, ...]]:
        self.ends.clear()
        self.connection.send(b"request")
        for piece in pieces:
            self.connection.data_received(piece)
        return self.ends


ANSWERS = {
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello": (200, b"hello", True),
    b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 202 OK\r\ncontent-length: 0\r\n\r\n": (202, b"", True),
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n": (
        200,
        b"hello",
        True,
    ),
    b"HTTP/1.1 500 No\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno": (500, b"no", False),
    b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok": (200, b"ok", False),
    b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok": (
        200,
        b"ok",
        True,
    ),
    b"HTTP/1.1 204 None\r\n\r\n": (204, b"", True),
}


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(0, 90), max_size=8))
def test_how_an_answer_is_split_does_not_matter(raw: bytes, cuts: list[int]) -> None:
    edges = sorted({0, *(min(cut, len(raw)) for cut in cuts), len(raw)})
    pieces = [raw[start:end] for start, end in pairwise(edges)]
    notes = Notes()
    assert notes.exchange(*pieces) == [ANSWERS[raw]]
    assert not notes.wire.aborted


def test_a_connection_carries_one_exchange_after_another() -> None:
    notes = Notes()
    for raw, expected in ANSWERS.items():
        if expected[2]:
            assert notes.exchange(raw) == [expected]
    assert notes.wire.written == [b"request"] * 5


@pytest.mark.parametrize(
    "surplus", [b"x", b"HTTP/1.1 500 Second\r\ncontent-length: 0\r\n\r\n", b"\x00" * 9]
)
@pytest.mark.parametrize("raw", sorted(ANSWERS))
def test_surplus_changes_no_answer(raw: bytes, surplus: bytes) -> None:
    status, body, _reusable = ANSWERS[raw]
    assert Notes().exchange(raw + surplus) == [(status, body, False)]


def test_surplus_between_exchanges_ends_the_connection() -> None:
    notes = Notes()
    notes.exchange(b"HTTP/1.1 204 None\r\n\r\n")
    notes.connection.data_received(b"x")
    assert notes.wire.aborted


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    notes = Notes()
    notes.exchange(b"HTTP/1.1 200 OK\r\n" + data)
    notes.connection.connection_lost(None)
    assert len([end for end in notes.ends if end[0] != "lost"]) <= 1
    assert notes.ends[-1] == ("lost", None)


@pytest.mark.parametrize("status", range(1000))
def test_every_status(status: int) -> None:
    notes = Notes()
    ends = notes.exchange(b"HTTP/1.1 %03d Any\r\ncontent-length: 0\r\n\r\n" % status)
    if 200 <= status < 600:
        assert ends == [(status, b"", True)]
    elif 100 <= status < 200 and status != 101:
        assert ends == []
    else:
        assert ends == [(FailureKind.PROTOCOL,)]


@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("over", [0, 1])
def test_the_cap_on_heads_is_exact(over: int, step: int) -> None:
    interim = b"HTTP/1.1 103 Early\r\n\r\n"
    start, end = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: ", b"\r\n\r\n"
    filler = b"x" * (HEAD_MAX - len(interim) - len(start) - len(end) + over)
    raw = interim + start + filler + end
    ends = Notes().exchange(*(raw[at : at + step] for at in range(0, len(raw), step)))
    assert ends[0] == ((FailureKind.TOO_LARGE,) if over else (200, b"", True))


@pytest.mark.parametrize("step", [1, 50, 1 << 20])
@pytest.mark.parametrize("size, reusable", [(0, True), (64, True), (65, False), (5000, False)])
def test_the_cap_on_bodies_is_exact(size: int, reusable: bool, step: int) -> None:
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size
    ends = Notes(body_max=64).exchange(*(raw[at : at + step] for at in range(0, len(raw), step)))
    assert ends[0] == (200, b"x" * min(size, 64), reusable)


def test_bytes_on_the_wire_are_capped_too() -> None:
    start = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;"
    budget = HEAD_MAX + 64 * 6
    assert Notes().exchange(start, b"x" * budget) == []
    assert Notes().exchange(start, b"x" * (budget + 1)) == [(200, b"", False)]


@pytest.mark.parametrize("error, expected", [(None, (200, b"ab", False)), (OSError(), None)])
def test_only_an_orderly_end_ends_a_body(
    error: OSError | None, expected: tuple[object, ...] | None
) -> None:
    notes = Notes()
    notes.exchange(b"HTTP/1.1 200 OK\r\n\r\nab")
    notes.connection.connection_lost(error)
    assert notes.ends == [*([expected] if expected else []), ("lost", error)]


def test_what_is_unsent_is_known() -> None:
    notes = Notes()
    assert not notes.connection.is_sending
    notes.wire.unsent = 1
    assert notes.connection.is_sending


def test_the_first_byte_is_timed() -> None:
    moments = iter([1.0, 2.0])
    notes = Notes(now=lambda: next(moments))
    notes.exchange()
    assert notes.connection.first_byte_at == 0.0
    notes.connection.data_received(b"H")
    notes.connection.data_received(b"T")
    assert notes.connection.first_byte_at == 2.0
