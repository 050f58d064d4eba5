"""Heads that came before, with what was made of them.

A client that keeps its connection sends the same request line and headers again and again, and
only the body differs. What the parser and the rules of `waypost.web.framing` once made of a head
holds for the same bytes, so the next request that begins with them needs neither.
"""

from collections.abc import Sequence
from typing import Final, final

from waypost.web.fast import FastRoute, Header, SharedHead

MAX_HEADS: Final = 1024
MAX_HEAD_BYTES: Final = 2048

HEAD_END: Final = b"\r\n\r\n"


@final
class KnownHead(SharedHead):
    """A head of fast requests that keep the connection.

    Attributes:
        route: whose handler the requests go to.
        headers: as the handler gets them.
        length: the Content-Length in bytes.
        size: the bytes of a whole request.
    """

    __slots__ = ("headers", "length", "route", "size")

    def __init__(
        self, route: FastRoute, headers: tuple[Header, ...], length: int, size: int
    ) -> None:
        """Keep what was made of the head."""
        super().__init__()
        self.route = route
        self.headers = headers
        self.length = length
        self.size = size


class KnownHeads:
    """The known heads of all connections, by their bytes without the empty line at the end.

    There are at most `MAX_HEADS`, of at most `MAX_HEAD_BYTES` each; when they are full, all are
    forgotten, and those in use are soon back.
    """

    __slots__ = ("by_bytes",)

    def __init__(self) -> None:
        """Start with none."""
        self.by_bytes: dict[bytes, KnownHead] = {}

    def learn(
        self, request: bytes, route: FastRoute, headers: Sequence[Header], length: int
    ) -> None:
        """Keep the head of `request`, unless that is more or less than one whole request.

        Args:
            request: what the parser has read since it was between two requests, and found to be
                or to begin with a sound request that keeps the connection.
            route: where it goes.
            headers: what the parser made of the head.
            length: of the body, in bytes, as the head announces it. With it the first empty line
                is known to be the end of the head: the parser takes no other line end than CRLF.
        """
        head = request.partition(HEAD_END)[0]
        size = len(head) + len(HEAD_END) + length
        if size != len(request) or len(head) > MAX_HEAD_BYTES:
            return
        if len(self.by_bytes) >= MAX_HEADS:
            self.by_bytes.clear()
        self.by_bytes[head] = KnownHead(route, tuple(headers), length, size)
