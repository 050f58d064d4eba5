from asyncio import Transport

import pytest

from bench import wire
from bench.ledger import ALTERED
from bench.receiver import ANSWER, Books, Receiver


class Written(Transport):
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += bytes(data)


def delivery(token: bytes, body: bytes) -> bytes:
    return b"POST /hook HTTP/1.1\r\nHost: x\r\nWebhook-Id: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        token,
        len(body),
        body,
    )


def received(*chunks: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    books, transport = Books(), Written()
    receiver = Receiver(books)
    receiver.connection_made(transport)
    for chunk in chunks:
        receiver.data_received(chunk)
    rows = wire.RECEIVED.iter_unpack(books.records)
    return [(token.rstrip(b"\0"), digits) for token, digits, _ in rows], transport.data


def test_a_delivery_is_written_down_and_answered() -> None:
    rows, answers = received(delivery(b"evt_1", wire.payload(5)))

    assert rows == [(b"evt_1", b"000000000005")]
    assert answers == ANSWER


def test_requests_are_found_however_the_stream_is_cut() -> None:
    stream = delivery(b"evt_1", wire.payload(1)) + delivery(b"evt_2", wire.payload(2))

    for cut in range(len(stream)):
        rows, answers = received(stream[:cut], stream[cut:])
        assert rows == [(b"evt_1", b"000000000001"), (b"evt_2", b"000000000002")]
        assert answers == ANSWER * 2


@pytest.mark.parametrize(
    "body",
    [
        wire.payload(1).replace(b"xx", b"xy", 1),
        wire.payload(1) + b" ",
        wire.payload(1).replace(b"1", b"-"),
        b"",
    ],
)
def test_any_other_body_is_written_down_as_altered(body: bytes) -> None:
    rows, _ = received(delivery(b"evt_1", body))

    assert rows == [(b"evt_1", ALTERED)]


def test_the_summary_tells_how_many_came() -> None:
    _, answers = received(delivery(b"evt_1", wire.payload(1)) + b"GET / HTTP/1.1\r\n\r\n")

    assert answers.rpartition(b"\r\n\r\n")[2].split()[0] == b"1"
