"""A relay on the loopback, for clients that are not in this process: what they ask goes by here."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.support import proofs
from tests.support.program import PATIENCE_S

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""
Forward = Callable[[str, str, dict[str, str], bytes], Answer]
"""Answers a method, a target, headers in lower case and a body."""


@contextmanager
def relay(url: str) -> Iterator[str]:
    """Have a relay to a server, which has proofs note what is asked; yields its URL."""

    def forward(method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        answer = send(url, method, target, headers, body)
        proofs.note(method, urlsplit(target).path, answer[0])
        return answer

    with relaying(forward) as own:
        yield own


@contextmanager
def relaying(forward: Forward) -> Iterator[str]:
    """Have a relay that answers as it is told; yields its URL."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _handler(forward))
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        listening.server_close()


def send(url: str, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
    """Ask a server."""
    place = urlsplit(url).netloc
    connection = http.client.HTTPConnection(place, timeout=PATIENCE_S)
    try:
        connection.request(method, target, body, headers | {"host": place})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def _handler(answered: Forward) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            length = self.headers.get("content-length")
            body = self.rfile.read(int(length)) if length else b""
            sent = {name.lower(): value for name, value in self.headers.items()}
            status, headers, answer = answered(self.command, self.path, sent, body)
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in {"content-length", "connection", "date", "server"}:
                    self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.forward)
    return Handler
