"""Ids: 128-bit time-ordered values (UUIDv7), kept as 16 bytes and spelled only at the edge.

The 48-bit millisecond timestamp of a UUIDv7 is followed by 12 bits that hold the fraction of the
millisecond (RFC 9562, section 6.2, method 3), so that an id carries its moment to the microsecond
and sorts by it. Nothing else needs to store when a thing was made.
"""

import re
import struct
from typing import Final

from waypost.model.errors import NotFound

Id = bytes

ID_BYTES: Final = 16
EVENT: Final = "evt"
SUBSCRIPTION: Final = "ep"
ATTEMPT: Final = "atmpt"
DELIVERY: Final = "dlv"
REPLAY: Final = "rpl"
PROJECT: Final = "prj"
KEY: Final = "key"
TRANSACTION: Final = "txn"
SOURCE: Final = "src"

KINDS: Final = {
    EVENT: "event",
    SUBSCRIPTION: "event subscription",
    ATTEMPT: "attempt",
    DELIVERY: "delivery",
    REPLAY: "replay",
    PROJECT: "project",
    KEY: "API key",
    TRANSACTION: "transaction",
    SOURCE: "source",
}

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{32}", re.ASCII)
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID = re.compile(rf"[0-7][{_CROCKFORD}]{{25}}", re.ASCII | re.IGNORECASE)
_ULID_DIGITS: Final = 26
_PAIRS: Final = tuple(first + second for first in _CROCKFORD for second in _CROCKFORD)
_PAIR_SHIFTS: Final = tuple(range(5 * (_ULID_DIGITS - 2), -1, -10))
_TO_BASE_32: Final = str.maketrans(_CROCKFORD, "0123456789ABCDEFGHIJKLMNOPQRSTUV")
"""To the digits that `int` reads."""

_VERSION_7: Final = 0x7000
_VERSION_OF_ALERTS: Final = 8
_VARIANT: Final = 0x2 << 62
_HALVES: Final = struct.Struct(">QQ")
_PACK: Final = _HALVES.pack
_UNPACK: Final = _HALVES.unpack
_CHANCE_BITS: Final = 62
MAX_CHANCE: Final = (1 << _CHANCE_BITS) - 1
FIRST: Final = b"\x00" * ID_BYTES
LAST: Final = b"\xff" * ID_BYTES


def make(at_us: int, chance: int) -> Id:
    """Make an id for the moment `at_us` (UTC microseconds since 1970) with 62 bits of chance."""
    millis, micros = divmod(at_us, 1000)
    # Rounded up, so that moment() gives back exactly the microsecond that went in.
    fraction = (micros * 4096 + 999) // 1000
    return _PACK((millis << 16) | _VERSION_7 | fraction, _VARIANT | chance)


def moment(identifier: Id) -> int:
    """Return the moment that an id carries, in UTC microseconds since 1970."""
    front: int = _UNPACK(identifier)[0]
    return (front >> 16) * 1000 + (front & 0x0FFF) * 1000 // 4096


def lowest(at_us: int) -> Id:
    """Return the smallest id of the moment `at_us`: every id from then on is >= it."""
    return make(max(at_us, 0), 0)


def following(identifier: Id) -> Id:
    """Return the id that comes right behind one, in the order of ids; the last has none."""
    return (int.from_bytes(identifier, "big") + 1).to_bytes(ID_BYTES, "big")


def spell(kind: str, identifier: Id) -> str:
    """Spell an id at the edge: `evt_` + UUID. `kind` is one of the prefixes of this module."""
    middle = identifier[4:10].hex("-", 2)
    return f"{kind}_{identifier[:4].hex()}-{middle}-{identifier[10:].hex()}"


def read(kind: str, token: str) -> Id:
    """Read a spelled id.

    Raises:
        NotFound: the token is not a well-formed one of this kind, so nothing can have it.
    """
    identifier = find(kind, token)
    if identifier is None:
        raise NotFound(KINDS.get(kind, kind))
    return identifier


def find(kind: str, token: str) -> Id | None:
    """Read a spelled id, or return None where the token is not a well-formed one of this kind."""
    prefix = f"{kind}_"
    if not token.startswith(prefix) or _UUID.fullmatch(token, len(prefix)) is None:
        return None
    return bytes.fromhex(token[len(prefix) :].replace("-", ""))


def preceding(identifier: Id) -> Id:
    """Return the id that comes right before one, in the order of ids; the first has none."""
    return (int.from_bytes(identifier, "big") - 1).to_bytes(ID_BYTES, "big")


def moved(identifier: Id, at_us: int) -> Id:
    """Return an id for another moment, UTC microseconds, as unique as this one."""
    return make(at_us, int.from_bytes(identifier[8:], "big") & MAX_CHANCE)


def alerts_of(project_id: Id) -> Id:
    """Return the id of the hidden project in which the notices of a project's failures are kept.

    A UUID of version 8, which no other id has: nothing that is listed by a project's own id, or
    asked for by a token, leads to what is in there.
    """
    return project_id[:6] + bytes([0x80 | project_id[6] & 0x0F]) + project_id[7:]


def is_of_alerts(project_id: Id) -> bool:
    """Tell whether a project is such a hidden one."""
    return project_id[6] >> 4 == _VERSION_OF_ALERTS


def apart(of: Id, number: int) -> Id:
    """Return the id of something that is found by what it belongs to alone.

    A UUID of version 8, which no other id has.

    Args:
        of: the id of what it belongs to.
        number: which of the things that belong to it, 0 to 15.
    """
    return of[:6] + bytes([0x80 | of[6] & 0x0F]) + of[7:15] + bytes([of[15] ^ number])


def spell_uuid(identifier: Id) -> str:
    """Spell an id as a plain UUID."""
    return spell("", identifier)[1:]


def spell_ulid(identifier: Id) -> str:
    """Spell an id as a ULID: 26 digits of Crockford's base 32, in the order of the ids."""
    # By pairs of digits: this is done for each event that comes and goes by some surfaces.
    number = int.from_bytes(identifier, "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in _PAIR_SHIFTS])


def find_ulid(text: str) -> Id | None:
    """Read a ULID, its letters in either case; None where it is something else."""
    if _ULID.fullmatch(text) is None:
        return None
    return int(text.upper().translate(_TO_BASE_32), 32).to_bytes(ID_BYTES, "big")


def find_uuid(text: str) -> Id | None:
    """Read a plain UUID, its letters in either case; None where it is something else."""
    text = text.lower()
    return bytes.fromhex(text.replace("-", "")) if _UUID.fullmatch(text) else None


def find_spelled(text: str) -> Id | None:
    """Read a ULID, a plain UUID or 32 hexadecimal digits; None where it is something else."""
    return find_ulid(text) or find_uuid(text) or find_hex(text.lower())


def spellings(identifier: Id) -> tuple[str, ...]:
    """Return all the ways to spell an id that `find_spelled` reads, each in either case."""
    plain = (spell_ulid(identifier), spell_uuid(identifier), spell_hex(identifier))
    return (*(text.lower() for text in plain), *(text.upper() for text in plain))


def spell_hex(identifier: Id) -> str:
    """Spell an id as 32 hexadecimal digits."""
    return identifier.hex()


def find_hex(text: str) -> Id | None:
    """Read 32 hexadecimal digits in lower case; None where it is something else."""
    return bytes.fromhex(text) if _HEX.fullmatch(text) else None


def attempt_of(delivery_id: Id, number: int, due_us: int) -> Id:
    """Return the id of try `number` (from 1) of a delivery that is due at `due_us`.

    It is a function of what the queue holds, so a try can be shown under its id before it starts.
    The first try has the delivery's own.
    """
    if number == 1:
        return delivery_id
    chance = (int.from_bytes(delivery_id[8:], "big") + number) & MAX_CHANCE
    return make(due_us, chance)
