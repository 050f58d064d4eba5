"""What the headers of a request say about its body and its connection (RFC 9112 §3.2, §6)."""

from typing import Final, NamedTuple

from waypost.web.fast import Header

_NAMES: Final = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"expect", b"content-encoding")
)


class Refused(Exception):
    """A request that the protocol answers by itself, with an error."""

    def __init__(self, status: int, message: str, headers: tuple[Header, ...] = ()) -> None:
        """Keep the answer."""
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.headers = headers


class Framing(NamedTuple):
    """How a body comes.

    `length` is the Content-Length in bytes, None if there is none; `expects` means that the client
    waits for a 100 before it sends the body; `encoded` that the body is compressed.
    """

    length: int | None
    expects: bool
    encoded: bool


def read_framing(headers: list[Header], version: str) -> Framing:
    """Return how the body comes.

    Args:
        headers: names in lower case, values stripped. The parser has refused more than one
            Content-Length, and a Content-Length beside a Transfer-Encoding.
        version: such as "1.1".

    Raises:
        Refused: the headers contradict RFC 9112, or ask for what is not offered.
    """
    length: int | None = None
    expects = encoded = chunked = False
    hosts = 0
    for name, value in headers:
        if name not in _NAMES:
            continue
        if name == b"content-length":
            length = int(value)
        elif name == b"host":
            hosts += 1
        elif name == b"content-encoding":
            encoded = encoded or value.lower() != b"identity"
        elif name == b"expect":
            if value.lower() != b"100-continue":
                raise Refused(417, "The expectation cannot be met")
            expects = version == "1.1"
        elif chunked or value.lower() != b"chunked":
            raise Refused(501, "Transfer-Encoding is not supported, but for chunked")
        else:
            chunked = True
    _check_version(version, hosts, chunked=chunked)
    return Framing(length, expects, encoded)


def _check_version(version: str, hosts: int, *, chunked: bool) -> None:
    """Refuse what the version does not allow (RFC 9112 §2.3, §3.2, §6.1)."""
    if version == "1.1":
        if hosts != 1:
            raise Refused(400, "There must be one Host header")
    elif version != "1.0":
        raise Refused(505, "HTTP version is not supported")
    elif chunked:
        raise Refused(400, "HTTP/1.0 knows no Transfer-Encoding")
