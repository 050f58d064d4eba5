"""What the senders and the receivers write down: one JSON array a line, append-only.

Times are seconds of the machine's monotonic clock, which all processes share.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

HANGS = -1
_HEX = 8


class Posted(msgspec.Struct, frozen=True, array_like=True, tag_field="what", tag="posted"):
    """A request is about to be sent; it may be sent again under the same key.

    Attributes:
        n: the number of the event, which its payload holds.
        group: the batch that it belongs to; None for a single post.
        chain: its ordering key; None where it has none.
    """

    n: int
    type: str
    key: str | None
    group: int | None
    at: float
    chain: str | None = None


class Answered(msgspec.Struct, frozen=True, array_like=True, tag_field="what", tag="answered"):
    """A complete answer came. `token` is empty where the status is not 202."""

    n: int
    at: float
    status: int
    token: str
    duplicate: bool


class Received(msgspec.Struct, frozen=True, array_like=True, tag_field="what", tag="received"):
    """A delivery has arrived, whole.

    Attributes:
        seq: the number of the receipt.
        role: which subscription it came to.
        token: its `webhook-id`.
        n: the event's number, -1 where the payload holds none.
        signed: the signature is right.
        intact: the body is the one that was posted, byte for byte.
    """

    seq: int
    role: str
    token: str
    n: int
    at: float
    signed: bool
    intact: bool


class Replied(msgspec.Struct, frozen=True, array_like=True, tag_field="what", tag="replied"):
    """A receipt was answered; status 0: the sender broke off before.

    With the status HANGS it will never be, since the receiver plays dead.
    """

    seq: int
    at: float
    status: int


class Ended(msgspec.Struct, frozen=True, array_like=True, tag_field="what", tag="ended"):
    """A life of the server has ended, and everything that it had sent stands above.

    Attributes:
        at: just before the signal was sent.
        killed: it was killed; otherwise it was asked to stop, and drained.
    """

    at: float
    killed: bool


Line = Posted | Answered | Received | Replied | Ended

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


class Ledger:
    """A file that is only ever appended to."""

    def __init__(self, path: Path) -> None:
        """Open the file; each line is handed to the system before `write` returns."""
        self._file = path.open("ab", buffering=0)

    def write(self, line: Line) -> None:
        """Append one line."""
        self._file.write(_encode(line) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> Iterator[Line]:
    """Read a ledger in the order in which it was written."""
    with path.open("rb") as file:
        for line in file:
            yield _decode(line)


def payload(n: int) -> bytes:
    """Return the payload of event `n`: JSON that tells its number, spelled with care.

    The number with a trailing zero, the escape and the odd spaces do not survive a parser that
    writes again what it has read.
    """
    pad = hashlib.sha256(str(n).encode()).hexdigest()[:_HEX] * (1 + n % 20)
    return b'{"n": %d,  "price":1.10, "nul":"\\u0000", "pad":"%b"}' % (n, pad.encode())


def number(body: bytes) -> int:
    """Return the number of the event with this payload, or -1."""
    digits = body[6 : body.find(b",")] if body.startswith(b'{"n": ') else b""
    return int(digits) if digits.isdigit() else -1
