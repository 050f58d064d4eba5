"""A receiver of webhooks on the loopback, in a thread of its own."""

import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

PATIENCE_S = 60.0


class Request(NamedTuple):
    """What came: headers in lower case, when (by the monotonic clock, seconds), and where to."""

    headers: dict[str, str]
    body: bytes
    at_s: float = 0.0
    target: str = ""


class Receiver:
    """Remembers what came, and answers `status` and `body`; a closed `gate` holds answers back.

    Where `echoes` is set it answers with what came.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.status = 204
        self.body = b""
        self.echoes = False
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""
        self._came = threading.Condition()

    def take(self, request: Request) -> int:
        """Remember a request, and return the status to answer with once the gate is open."""
        with self._came:
            self.requests.append(request)
            self._came.notify_all()
        self.gate.wait(PATIENCE_S)
        return self.status

    def wait_for(self, count: int) -> list[Request]:
        """Wait until so many requests have come."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.requests) >= count, PATIENCE_S), (
                f"{len(self.requests)} of {count} came"
            )
            return list(self.requests)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    # Five, the library's own, would let connections wait to be made for seconds.
    request_queue_size = 1024

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a sender that was killed before it was answered."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type] # its own types


@contextmanager
def receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Have a receiver that listens, by TLS where it has a context."""
    found = Receiver()
    listening = _Listener(("127.0.0.1", 0), _handler(found))
    if tls is not None:
        listening.socket = tls.wrap_socket(listening.socket, server_side=True)
    threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
    scheme = "http" if tls is None else "https"
    found.url = f"{scheme}://127.0.0.1:{listening.server_address[1]}/hook"
    try:
        yield found
    finally:
        found.gate.set()
        listening.shutdown()
        listening.server_close()


def _handler(found: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            came_s = time.monotonic()
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = found.take(Request(headers, body, came_s, self.path))
            self.send_response(status)
            answer = body if found.echoes else found.body
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
