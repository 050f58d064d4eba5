"""The bytes that the load generator sends, the receiver checks and the ledger reads.

Every event carries a payload of one fixed shape and length with a sequence number at a fixed
place, so that both ends can make and check it with a slice instead of a JSON parser.
"""

import struct

EVENT_TYPE = "bench.event"
PAYLOAD_BYTES = 250
SEQUENCE_DIGITS = 12

PAYLOAD_HEAD = b'{"sequence":"'
PAYLOAD_TAIL = b'","note":"' + b"x" * (PAYLOAD_BYTES - 13 - SEQUENCE_DIGITS - 12) + b'"}'
SEQUENCE = slice(len(PAYLOAD_HEAD), len(PAYLOAD_HEAD) + SEQUENCE_DIGITS)

TOKEN_BYTES = 48
POSTED = struct.Struct(f"={TOKEN_BYTES}sqqqq")
"""One acknowledged post: token, sequence, intended, sent and acknowledged (ns, monotonic)."""

RECEIVED = struct.Struct(f"={TOKEN_BYTES}s{SEQUENCE_DIGITS}sq")
"""One delivery: token, sequence digits as they stood in the body, received (ns, monotonic)."""


def payload(sequence: int) -> bytes:
    """The payload of one event: a JSON object of `PAYLOAD_BYTES` bytes."""
    return b"%b%012d%b" % (PAYLOAD_HEAD, sequence, PAYLOAD_TAIL)


def event_type(sequence: int, types: int, family: str = EVENT_TYPE) -> str:
    """The type of the event of that sequence number, where there are so many types in turn."""
    return f"{family}.{sequence % types:04d}" if types > 1 else family


def body(kind: bytes, content: bytes) -> bytes:
    """The request body that posts an event of a type, with that payload."""
    return b'{"event_type":"%b","payload":%b}' % (kind, content)


def event_body(sequence: int, types: int = 1, family: str = EVENT_TYPE) -> bytes:
    """The request body that posts the event of that sequence number."""
    kind = event_type(sequence, types, family).encode()
    return body(kind, payload(sequence))
