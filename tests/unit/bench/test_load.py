from asyncio import Transport

from bench import wire
from bench.apis import APIS, CONVOY
from bench.load import Connection, Generator, Load, batch_request, single_request

ACCEPTED = b'HTTP/1.1 202 Accepted\r\ncontent-length: 17\r\n\r\n{"token":"evt_1"}'


class Written(Transport):
    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.requests.append(bytes(data))


def connected(load: Load) -> tuple[Generator, Connection, Written]:
    generator = Generator(load, single_request(b"host: x\r\n"))
    connection, transport = Connection(generator), Written()
    connection.connection_made(transport)
    generator.idle.append(connection)
    return generator, connection, transport


async def test_a_post_that_waited_for_a_connection_counts_from_when_it_was_due() -> None:
    generator, connection, transport = connected(Load(seconds=9, rate=1))

    generator.post_due(10)
    generator.post_due(20)
    assert len(transport.requests) == 1
    connection.data_received(ACCEPTED)
    connection.data_received(ACCEPTED)

    rows = list(wire.POSTED.iter_unpack(generator.records))
    assert [(sequence, intended) for _, sequence, intended, _, _ in rows] == [(0, 10), (1, 20)]
    assert all(sent > 20 and acked >= sent for _, _, _, sent, acked in rows)


async def test_an_answer_in_pieces_is_one_answer() -> None:
    generator, connection, transport = connected(Load(seconds=9, events=1))
    generator.next(generator.idle.pop())

    for byte in ACCEPTED:
        connection.data_received(bytes([byte]))

    assert generator.acknowledged == 1
    assert len(transport.requests) == 1
    assert generator.done.is_set()


async def test_a_refusal_is_counted_and_acknowledges_nothing() -> None:
    generator, connection, _ = connected(Load(seconds=9))
    generator.next(generator.idle.pop())

    connection.data_received(b"HTTP/1.1 429 X\r\nContent-Length: 2\r\n\r\nno")

    assert (generator.acknowledged, generator.refused["429"]) == (0, 1)
    assert generator.refusal_example == "no"


async def test_a_connection_that_is_closed_while_idle_is_not_used_and_not_a_fault() -> None:
    generator, connection, transport = connected(Load(seconds=9, rate=1))

    connection.connection_lost(None)
    generator.post_due(10)

    assert not generator.refused
    assert transport.requests == []
    assert list(generator.due) == [10]


async def test_a_connection_that_is_closed_in_flight_is_told() -> None:
    generator, connection, _ = connected(Load(seconds=9))
    generator.next(generator.idle.pop())

    connection.connection_lost(ConnectionResetError("by peer"))

    assert generator.refused["connection lost"] == 1
    assert generator.in_flight == 1


async def test_a_batch_acknowledges_each_of_its_events() -> None:
    generator, connection, _ = connected(Load(seconds=9, batch=2, first_sequence=40))
    generator.next(generator.idle.pop())
    generator.close()

    body = b'{"data":[{"token":"evt_1"},{"token":"evt_2"}]}'
    connection.data_received(b"HTTP/1.1 202 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    rows = wire.POSTED.iter_unpack(generator.records)
    assert [(token.rstrip(b"\0"), sequence) for token, sequence, *_ in rows] == [
        (b"evt_1", 40),
        (b"evt_2", 41),
    ]


def test_requests_hold_their_events() -> None:
    single = single_request(b"host: x\r\n")(7)
    batch = batch_request(b"host: x\r\n", 2)(7)

    assert single.endswith(
        b"content-length: %d\r\n\r\n%b"
        % (
            len(wire.event_body(7)),
            wire.event_body(7),
        )
    )
    assert batch.endswith(b"[%b,%b]}" % (wire.event_body(7), wire.event_body(8)))


def test_types_come_in_turn() -> None:
    single, batch = single_request(b"", types=3), batch_request(b"", 3, types=3)

    for sequence in range(4):
        assert single(sequence).endswith(wire.event_body(sequence, 3))
    assert batch(0).endswith(b"[%b]}" % b",".join(wire.event_body(n, 3) for n in range(3)))
    assert b'"event_type":"bench.event.0001"' in single(1)
    assert b'"event_type":"bench.event"' in wire.event_body(1)


def test_types_are_of_the_load_s_family() -> None:
    assert b'"event_type":"noise.0001"' in single_request(b"", 3, "noise")(1)
    assert b'"event_type":"noise"' in batch_request(b"", 1, 1, "noise")(1)


def test_a_request_of_an_api_that_names_an_endpoint_names_it() -> None:
    request = single_request(b"host: x\r\n", api=APIS[CONVOY], to="P1/E1")(7)
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v1/projects/P1/events HTTP/1.1\r\n")
    assert b"content-length: %d" % len(body) in head
    assert body.startswith(b'{"endpoint_id":"E1","event_type":"bench.event","data":{"sequence":"')
    assert b"000000000007" in body
