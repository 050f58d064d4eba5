"""The bytes of a fast response, with everything that does not change made ahead."""

from http import HTTPStatus
from typing import Final

from waypost.web.fast import Answer, Header

SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
"""On every response: nothing here may be kept by a cache or guessed to be another type."""


class ResponseHeads:
    """Makes responses; keeps the first part of each kind until the server's headers change."""

    __slots__ = ("_defaults", "_starts")

    def __init__(self) -> None:
        """Start with nothing made."""
        self._defaults: list[Header] | None = None
        self._starts: dict[tuple[int, bytes], bytes] = {}

    def render(self, defaults: list[Header], answer: Answer, *, keep_alive: bool) -> bytes:
        """Return a whole response.

        Args:
            defaults: the server's own headers; the same list object means the same headers.
            answer: of a fast request, with sound headers.
            keep_alive: whether the connection stays open.
        """
        status, body, headers, content_type = answer
        if defaults is not self._defaults:
            self._defaults = defaults
            self._starts.clear()
        start = self._starts.get((status, content_type))
        if start is None:
            start = self._starts[status, content_type] = _start(defaults, status, content_type)
        if headers or not keep_alive:
            extra = b""
            for header in headers:
                extra += b"%b: %b\r\n" % header
            if not keep_alive:
                extra += b"connection: close\r\n"
            return b"%b%d\r\n%b\r\n%b" % (start, len(body), extra, body)
        return b"%b%d\r\n\r\n%b" % (start, len(body), body)


def _start(defaults: list[Header], status: int, content_type: bytes) -> bytes:
    """Return a response up to the number of its content-length."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    lines = [f"HTTP/1.1 {status} {phrase}".encode("ascii")]
    lines += [b"%b: %b" % header for header in (*defaults, *SECURITY_HEADERS)]
    lines += [b"content-type: " + content_type, b"content-length: "]
    return b"\r\n".join(lines)
