"""Sockets: bound before anything is started, and the owner's alone."""

import asyncio
import http.client
import os
import socket
import stat
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from waypost.model.errors import ConfigInvalid
from waypost.web.listener import Listener, bind, bind_local


async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


def fetch(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    try:
        return connection.getresponse().read()
    finally:
        connection.close()


async def test_it_serves_and_then_no_more() -> None:
    listening = bind("127.0.0.1", 0)
    port = listening.getsockname()[1]
    listener = Listener(app, listening)
    await listener.start()
    assert await asyncio.to_thread(fetch, port) == b"here"
    await listener.stop(1.0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(fetch, port)


async def test_it_serves_what_was_accepted_elsewhere() -> None:
    listener = Listener(app, None)
    await listener.start()
    with socket.create_server(("127.0.0.1", 0)) as accepting:
        asked = asyncio.create_task(asyncio.to_thread(fetch, accepting.getsockname()[1]))
        connection, _ = await asyncio.to_thread(accepting.accept)
        await listener.adopt(connection)
        assert listener.open_connections == 1
        assert await asked == b"here"
    await listener.stop(1.0)
    assert listener.open_connections == 0


def test_an_address_in_use_is_refused_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigInvalid, match=f"can't listen on 127.0.0.1:{port}: Address"):
            bind("127.0.0.1", port)


def test_a_host_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="can't listen on"):
        bind("256.0.0.1.", 80)


def test_a_local_socket_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    before = os.umask(0)
    try:
        listening = bind_local(path)
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert path.stat().st_mode & 0o777 == 0o600
    listening.close()


def test_what_a_crash_has_left_is_replaced(tmp_path: Path) -> None:
    bind_local(tmp_path / "s").close()
    bind_local(tmp_path / "s").close()
