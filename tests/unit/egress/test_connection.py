"""A connection against a transport that only takes notes: every split of an answer is one."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.egress.connection import (
    HEAD_MAX,
    KNOWN_BYTES_MAX,
    KNOWN_MAX,
    Call,
    Connection,
    KnownAnswers,
)
from waypost.model.delivery import Timings
from waypost.model.exchange import Consent, FailureKind


class Wire(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False
        self.closed = False
        self.unsent = 0

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.aborted or self.closed

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
            known=KnownAnswers() if known is None else known,
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


SIMPLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
TAKEN = (200, b"ok", True)


class Unasked(KnownAnswers):
    """Known answers that count how often one was found."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        super().__init__()
        self.found = 0
        known = self.find

        def find(raw: bytes) -> tuple[int, bytes, str | None, int | None] | None:
            answer = known(raw)
            self.found += answer is not None
            return answer

        self.find = find


@given(st.lists(st.sampled_from(sorted(ANSWERS)), max_size=8), st.data())
def test_what_is_known_changes_no_answer(raws: list[bytes], data: st.DataObject) -> None:
    known = KnownAnswers()
    notes = Notes(known=known)
    for raw in raws:
        cut = data.draw(st.integers(0, len(raw)))
        assert notes.exchange(*filter(None, (raw[:cut], raw[cut:]))) == [ANSWERS[raw]]
        if not notes.connection.reusable:
            notes = Notes(known=known)


def test_the_same_answer_is_parsed_once() -> None:
    known = Unasked()
    notes = Notes(known=known)
    for times in range(3):
        assert notes.exchange(SIMPLE) == [TAKEN]
        assert known.found == times
    assert Notes(known=known).exchange(SIMPLE) == [TAKEN]
    assert known.found == 3


@pytest.mark.parametrize("status", [204, 304])
def test_a_known_answer_without_a_body_leaves_none(status: int) -> None:
    known = Unasked()
    notes = Notes(known=known)
    for _ in range(3):
        raw = b"HTTP/1.1 %d None\r\ncontent-length: 5\r\n\r\n" % status
        assert notes.exchange(raw) == [(status, b"", True)]
        assert notes.exchange(SIMPLE[:-1], SIMPLE[-1:]) == [TAKEN]
    assert known.found == 2


def test_pieces_are_read_in_order_whatever_is_known() -> None:
    known = Unasked()
    notes = Notes(known=known)
    notes.exchange(SIMPLE)
    assert notes.exchange(SIMPLE[:20], SIMPLE[20:]) == [TAKEN]
    assert notes.exchange(*(bytes([byte]) for byte in SIMPLE)) == [TAKEN]
    assert known.found == 0
    assert notes.exchange(SIMPLE) == [TAKEN]


def test_a_known_answer_inside_another_is_its_body() -> None:
    notes = Notes()
    notes.exchange(SIMPLE)
    head = b"HTTP/1.1 201 OK\r\ncontent-length: %d\r\n\r\n" % len(SIMPLE)
    assert notes.exchange(head, SIMPLE) == [(201, SIMPLE, True)]


def test_surplus_behind_a_known_answer_is_seen() -> None:
    notes = Notes()
    notes.exchange(SIMPLE)
    assert notes.exchange(SIMPLE + b"HTTP/1.1 500 No\r\n") == [(200, b"ok", False)]
    notes = Notes(known=KnownAnswers())
    for _ in range(2):
        notes.exchange(SIMPLE)
    notes.connection.data_received(SIMPLE)
    assert notes.wire.aborted


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 None\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n" + b"x" * 65,
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
        b"HTTP/1.1 103 Early\r\n\r\n",
        b"HTTP/1.1 101 Go\r\n\r\n",
        SIMPLE + b"x",
        b"garbage",
    ],
)
def test_only_whole_plain_answers_become_known(raw: bytes) -> None:
    known = KnownAnswers()
    Notes(known=known).exchange(raw)
    assert len(known) == 0


@pytest.mark.parametrize("over", [0, 1])
def test_only_short_answers_become_known(over: int) -> None:
    known = KnownAnswers()
    filler = b"x" * (KNOWN_BYTES_MAX - len(SIMPLE) - len(b"a: \r\n") + over)
    Notes(known=known).exchange(SIMPLE.replace(b"content", b"a: %b\r\ncontent" % filler))
    assert len(known) == 1 - over


def test_how_many_are_known_is_bounded() -> None:
    known = KnownAnswers()
    notes = Notes(known=known)
    most = 0
    for number in range(2 * KNOWN_MAX + 10):
        body = b"%05d" % number
        raw = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" + body
        assert notes.exchange(raw) == [(200, body, True)]
        most = max(most, len(known))
    assert most == KNOWN_MAX


def test_a_known_answer_brings_its_headers_and_no_others() -> None:
    notes = Notes()
    busy = (
        b"HTTP/1.1 503 No\r\nretry-after: 7\r\nkeep-alive: timeout=3\r\ncontent-length: 0\r\n\r\n"
    )
    for _ in range(3):
        for raw, expected in ((busy, ("7", 3)), (SIMPLE, (None, None))):
            notes.exchange(raw)
            connection = notes.connection
            assert (connection.retry_after, connection.keep_alive_s) == expected


@pytest.mark.parametrize(
    "lines, expected",
    [
        (b"", None),
        (b"WebHook-Allowed-Origin: a.example \r\n", Consent("a.example")),
        (b"webhook-allowed-rate: 9\r\nwebhook-allowed-origin: *\r\n", Consent("*", "9")),
        (b"webhook-allowed-origin: a\r\nwebhook-allowed-origin: b\r\n", Consent("")),
        (b"webhook-allowed-origin: a\r\nwebhook-allowed-origin: a\r\n", Consent("a")),
    ],
)
def test_an_answer_that_allows_something_ends_its_connection(
    lines: bytes, expected: Consent | None
) -> None:
    notes = Notes()
    interim = b"HTTP/1.1 103 Early\r\nwebhook-allowed-origin: x\r\n\r\n"
    raw = interim + b"HTTP/1.1 200 OK\r\n" + lines + b"content-length: 0\r\n\r\n"
    assert notes.exchange(raw) == [(200, b"", expected is None)]
    assert notes.connection.consent == expected


def test_the_end_of_a_connection_is_no_answer_to_the_next_request() -> None:
    notes = Notes()
    notes.exchange(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
    notes.exchange(b"HTTP/1.1 204 None\r\n\r\n")
    notes.exchange()
    notes.connection.connection_lost(None)
    assert notes.ends == [("lost", None)]


def test_timings_of_an_answer_in_one_piece() -> None:
    call = Call(lambda _call: None, b"", b"", 10.0, 10.0, 20.0, lambda _exchange: None)
    assert call.timings(10.5, 10.5) == Timings(0, 0, 0, 500_000, 500_000)
    assert call.timings(0.0, 10.5) == Timings(0, 0, 0, 0, 500_000)
    assert call.timings(10.25, 10.5) == Timings(0, 0, 0, 250_000, 500_000)
    call.sent_at = 10.25
    assert call.timings(10.5, 10.5) == Timings(0, 0, 0, 250_000, 500_000)
