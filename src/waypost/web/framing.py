"""What the headers of a request say about its body and its connection (RFC 9112 §3.2, §6)."""

from typing import Final, NamedTuple

import httptools

from waypost.web.fast import Header
from waypost.web.limits import HttpLimits

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


def bound_head(target: bytes, headers: list[Header], limits: HttpLimits) -> None:
    """Refuse a head that is too large.

    Raises:
        Refused: the target or the headers are over a limit.
    """
    if len(target) > limits.target_bytes:
        raise Refused(414, f"The request target is longer than {limits.target_bytes} bytes")
    if len(headers) > limits.head_fields:
        raise Refused(431, f"There are more than {limits.head_fields} headers")
    size = len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
    if size > limits.head_bytes:
        raise Refused(431, f"The headers are larger than {limits.head_bytes} bytes")


def check_target(target: bytes) -> None:
    """Refuse a target that uvicorn could not take apart.

    Raises:
        Refused: it has no path, or one that is not ASCII.
    """
    try:
        path = httptools.parse_url(target).path
    except httptools.HttpParserInvalidURLError:
        path = None
    if path is None or not path.isascii():
        raise Refused(400, "The request target is not valid")


def without_upgrade(method: bytes, target: bytes, version: bytes, headers: list[Header]) -> bytes:
    """Return the head of a request as if it had not asked for an upgrade."""
    lines = [b"%b %b HTTP/%b" % (method, target, version)]
    lines += [b"%b: %b" % field for field in headers if field[0] != b"upgrade"]
    return b"\r\n".join((*lines, b"", b""))


def too_large(limit: int) -> str:
    """Return the sentence for a body over `limit` bytes."""
    return f"The body is larger than {limit} bytes"


def _check_version(version: str, hosts: int, *, chunked: bool) -> None:
    """Refuse what the version does not allow (RFC 9112 §2.3, §3.2, §6.1)."""
    if version == "1.1":
        if hosts != 1:
            raise Refused(400, "There must be one Host header")
    elif version != "1.0":
        raise Refused(505, "HTTP version is not supported")
    elif chunked:
        raise Refused(400, "HTTP/1.0 knows no Transfer-Encoding")
