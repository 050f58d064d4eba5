"""What the server and a worker say to each other: frames of bytes on a socket.

A frame is its length in four bytes, and its parts. Both sides import this, so it needs nothing.
"""

import struct
from typing import Final, NamedTuple

JAVASCRIPT: Final = b"J"
TEMPLATE: Final = b"T"

CHECK: Final = 1
"""Only see whether it can be run; there is no payload."""
TEXT: Final = 2
"""The payload is text, not JSON."""
LOG: Final = 4
"""What it writes to its log is wanted."""

UNTOUCHED: Final = b"="
PAYLOAD: Final = b"P"
AS_TEXT: Final = b"T"
SKIP: Final = b"S"
GOOD: Final = b"K"
ERROR: Final = b"E"

LENGTH: Final = struct.Struct("!I")
_REQUEST: Final = struct.Struct("!cBII")
_ANSWER: Final = struct.Struct("!cII")

CONTROL: Final = struct.Struct("!cI")
"""What the nursery is told: FORK, with a socket, or KILL, and the number of a worker."""
FORK: Final = b"f"
KILL: Final = b"k"
HELLO: Final = struct.Struct("!I")
"""What it says first: of HAS_ENGINE and FILTERS_CALLS."""
HAS_ENGINE: Final = 1
FILTERS_CALLS: Final = 2
ENDED: Final = struct.Struct("!Ii")
"""What it says of a worker that it killed: its number, and its status or its signal below zero."""

ANSWER_MAX: Final = 4 * 1024 * 1024
"""More than any answer needs: a worker that sends more has lost its mind."""


class Limits(NamedTuple):
    """What one call may use.

    Attributes:
        cpu_s: of the processor's time, seconds.
        memory_bytes: of memory.
        payload_bytes: what a new payload may come to.
    """

    cpu_s: float
    memory_bytes: int
    payload_bytes: int


class Request(NamedTuple):
    """One call.

    Attributes:
        language: JAVASCRIPT or TEMPLATE.
        flags: of CHECK, TEXT and LOG.
        source: the program.
        payload: JSON, or text.
        event: the event beside its payload, JSON.
    """

    language: bytes
    flags: int
    source: bytes
    payload: bytes = b""
    event: bytes = b"{}"


class Answer(NamedTuple):
    """What came of a call.

    Attributes:
        kind: UNTOUCHED, PAYLOAD, AS_TEXT, SKIP, GOOD or ERROR.
        payload: the new payload, with PAYLOAD and AS_TEXT.
        beside: JSON: `headers`, `log`, and with ERROR what went wrong.
        took_us: of the processor's time, microseconds.
    """

    kind: bytes
    payload: bytes
    beside: bytes
    took_us: int = 0


def pack_request(request: Request) -> bytes:
    """Return the frame of a request."""
    language, flags, source, payload, event = request
    head = _REQUEST.pack(language, flags, len(source), len(payload))
    return _frame(head, source, payload, event)


def unpack_request(body: bytes) -> Request:
    """Return what a frame holds, its length in front left out."""
    language, flags, source, payload = _REQUEST.unpack_from(body)
    at = _REQUEST.size
    behind = at + source
    last = behind + payload
    return Request(language, flags, body[at:behind], body[behind:last], body[last:])


def pack_answer(answer: Answer) -> bytes:
    """Return the frame of an answer."""
    kind, payload, beside, took_us = answer
    return _frame(_ANSWER.pack(kind, len(payload), took_us), payload, beside)


def unpack_answer(body: bytes) -> Answer | None:
    """Return what a frame holds, its length in front left out; None where it is none of ours."""
    if len(body) < _ANSWER.size:
        return None
    kind, payload, took_us = _ANSWER.unpack_from(body)
    at = _ANSWER.size
    return Answer(kind, body[at : at + payload], body[at + payload :], took_us)


def _frame(*parts: bytes) -> bytes:
    return b"".join((LENGTH.pack(sum(map(len, parts))), *parts))
