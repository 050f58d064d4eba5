"""What ordinary endpoints answer through the whole stack."""

import pytest
from structlog.testing import capture_logs

from tests.integration.web.conftest import Start
from tests.integration.web.server import envelope, head, post
from tests.support.waiting import until


async def test_unknown_paths_and_methods_have_the_envelope(start: Start) -> None:
    server = await start()
    client = await server.connect()
    reply = await client.ask(head("/nowhere", method="GET"))
    assert (reply.status, envelope(reply).message) == (404, "Not Found")
    reply = await client.ask(head("/echo", method="GET"))
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    envelope(reply)
    assert reply.headers["cache-control"] == "no-store"
    assert server.front.errors.by_status == {404: 1, 405: 1}


async def test_an_unexpected_error_is_logged_under_its_id(start: Start) -> None:
    server = await start()
    client = await server.connect()
    with capture_logs() as log:
        reply = await client.ask(head("/broken", method="GET"))
    error = envelope(reply)
    assert reply.status == 500
    assert "secret" not in error.message
    (entry,) = log
    assert entry["debugging_request_id"] == error.debugging_request_id
    assert entry["exc_info"] is True


async def test_draining_waits_for_a_stream(start: Start) -> None:
    server = await start()
    client = await server.connect()
    client.send(head("/stream", method="GET"))
    await client.reader.readuntil(b"begun\r\n")
    server.drain()
    server.gate.set()
    assert await client.rest() == b"0\r\n\r\n"


@pytest.mark.parametrize("gone", [False, True])
async def test_an_application_that_breaks_off_ends_the_connection(start: Start, gone: bool) -> None:
    server = await start()
    client = await server.connect()
    # The body never comes, so that the connection is one that would linger.
    client.send(head("/breaks", "Content-Length: 1", method="GET"))
    await client.reader.readuntil(b"begun\r\n")
    with capture_logs() as log:
        if gone:
            client.reset()
            await until(lambda: not server.connections)
        server.gate.set()
        if not gone:
            assert await client.rest() == b""
        await until(lambda: not server.uvicorn.server_state.tasks)
    # Who has gone may be noticed first, and then nothing fails.
    assert log or gone


async def test_a_client_that_leaves_ends_the_request(start: Start) -> None:
    server = await start()
    client = await server.connect()
    server.gate.set()
    with capture_logs() as log:
        client.send(post("/read", b"xx")[:-1])
        await until(lambda: server.connections and server.connection.progress.received)
        client.writer.close()
        await until(lambda: not server.uvicorn.server_state.tasks)
    assert not log


async def test_waiting_requests_of_a_client_that_leaves_never_start(start: Start) -> None:
    server = await start()
    client = await server.connect()
    client.send(post("/hold"), post("/read", b"x" * 100), post("/echo"))
    await until(lambda: server.held)
    server.connection.transport.abort()
    await until(lambda: not server.connections)
    assert not server.seen
    assert not server.uvicorn.server_state.tasks
