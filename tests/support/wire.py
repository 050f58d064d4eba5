"""A stretch of wire on the loopback that can be cut, clogged and mended: a relay of TCP."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

_CHUNK = 65_536
_LOOK_S = 0.01


class Wire:
    """Relays connections to a port of the loopback.

    Attributes:
        port: where it listens itself.
        cuts: how many connections were cut behind what `cut_after` has waited for.
        greetings: what clients of PostgreSQL have told of themselves.
    """

    def __init__(self, to: int) -> None:
        """Listen; `to` is where everything goes."""
        self._to = to
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listening.settimeout(_LOOK_S)
        self._ended = threading.Event()
        self._flows = threading.Event()
        self._flows.set()
        self._wanted: tuple[bytes, bytes] | None = None
        self._exchanged = (b"\0", b"\0")
        self._open: set[_Relay] = set()
        self.port = int(self._listening.getsockname()[1])
        self.cuts = 0
        self.greetings: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def through(self, url: str) -> str:
        """Return a URL that goes through here."""
        parts = urlsplit(url)
        netloc = parts.netloc.replace(f":{parts.port}", f":{self.port}")
        return urlunsplit(parts._replace(netloc=netloc))

    def clog(self) -> None:
        """Pass nothing on any more, in no direction, and close nothing."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on what has waited, and what comes."""
        self._flows.set()

    def cut_after(self, who: bytes, what: bytes) -> None:
        """Cut a connection as soon as its client has sent something.

        It is passed on, and answered by the server; the answer is lost.

        Args:
            who: is in the client's greeting.
            what: is in what it sends.
        """
        self._wanted = (who, what)

    def exchange(self, said: bytes, heard: bytes) -> None:
        """Have clients hear something else than servers say; of the same length."""
        self._exchanged = (said, heard)

    def heard(self, chunk: bytes) -> bytes:
        """Return what clients hear where a server says `chunk`."""
        return chunk.replace(*self._exchanged)

    def takes(self, greeting: bytes, chunk: bytes) -> bool:
        """Tell whether a chunk of a client's is what is waited for; it is, once."""
        if self._wanted is None:
            return False
        who, what = self._wanted
        if who not in greeting or what not in chunk:
            return False
        self._wanted = None
        self.cuts += 1
        return True

    def close(self) -> None:
        """Cut everything."""
        self._ended.set()
        self._listening.close()
        for relay in tuple(self._open):
            relay.cut()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            client.settimeout(None)
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        relay = _Relay(self, client, self._to, self._flows, self._ended)
        self._open.add(relay)
        try:
            relay.run()
        finally:
            self._open.discard(relay)


class _Relay:
    """One connection, in the thread that runs it."""

    def __init__(
        self,
        wire: Wire,
        client: socket.socket,
        to: int,
        flows: threading.Event,
        ended: threading.Event,
    ) -> None:
        self._wire = wire
        self._client = client
        self._to = to
        self._ended = ended
        self.flows = flows

    def run(self) -> None:
        with self._client:
            self._may_flow()
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            with server, suppress(OSError):
                self._pass_on(server)

    def cut(self) -> None:
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def _may_flow(self) -> bool:
        while not self.flows.wait(_LOOK_S):
            if self._ended.is_set():
                return False
        return True

    def _pass_on(self, server: socket.socket) -> None:
        greeting = b""
        while not self._ended.is_set():
            ready, _, _ = select.select([self._client, server], [], [], _LOOK_S)
            if not self._may_flow():
                return
            for end in ready:
                chunk = end.recv(_CHUNK)
                if not chunk:
                    return
                if end is server:
                    self._client.sendall(self._wire.heard(chunk))
                    continue
                server.sendall(chunk)
                if not greeting and b"application_name" in chunk:
                    greeting = chunk
                    self._wire.greetings.append(greeting)
                if self._wire.takes(greeting, chunk):
                    server.recv(_CHUNK)
                    return


@contextmanager
def wire(to: int) -> Iterator[Wire]:
    """Have a wire."""
    made = Wire(to)
    try:
        yield made
    finally:
        made.close()
