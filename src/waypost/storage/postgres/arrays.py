"""PostgreSQL's arrays in its binary format, made by hand for the statements of the hot path.

Source: PostgreSQL, src/backend/utils/adt/arrayfuncs.c, array_recv: the number of dimensions, a flag
for nulls, the type's oid, length and lower bound; then each element behind its length, -1 for null.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Final

from waypost.model.ids import ID_BYTES

BYTEA: Final = 17
INT8: Final = 20
INT2: Final = 21
INT4: Final = 23
TEXT: Final = 25
UUID: Final = 2950

ARRAY_OF: Final = {
    BYTEA: 1001,
    INT8: 1016,
    INT2: 1005,
    INT4: 1007,
    TEXT: 1009,
    UUID: 2951,
}
"""The oid of a type's array type."""

_HEADER: Final = struct.Struct(">iiIii").pack
_LENGTH: Final = struct.Struct(">i").pack
_INT2: Final = struct.Struct(">h").pack
_INT4: Final = struct.Struct(">i").pack
_INT8: Final = struct.Struct(">q").pack
_NULL: Final = b"\xff\xff\xff\xff"
_ID_BEGINS: Final = _LENGTH(ID_BYTES)
_INT2_BEGINS: Final = _LENGTH(2)
_INT4_BEGINS: Final = _LENGTH(4)
_INT8_BEGINS: Final = _LENGTH(8)


def uuids(values: Sequence[bytes]) -> bytes:
    """Return a `uuid[]`."""
    if not values:
        return _header(UUID, 0)
    return _header(UUID, len(values)) + _ID_BEGINS + _ID_BEGINS.join(values)


def int2s(values: Sequence[int]) -> bytes:
    """Return an `int2[]`."""
    return _numbers(INT2, _INT2_BEGINS, _INT2, values)


def int4s(values: Sequence[int]) -> bytes:
    """Return an `int4[]`."""
    return _numbers(INT4, _INT4_BEGINS, _INT4, values)


def int8s(values: Sequence[int]) -> bytes:
    """Return an `int8[]`."""
    return _numbers(INT8, _INT8_BEGINS, _INT8, values)


def byteas(values: Sequence[bytes | None]) -> bytes:
    """Return a `bytea[]`; None is null."""
    return _pieces(BYTEA, values)


def texts(values: Sequence[str | None]) -> bytes:
    """Return a `text[]`; None is null."""
    return _pieces(TEXT, [None if value is None else value.encode() for value in values])


def _numbers(oid: int, begins: bytes, pack: Callable[[int], bytes], values: Sequence[int]) -> bytes:
    if not values:
        return _header(oid, 0)
    return _header(oid, len(values)) + begins + begins.join(map(pack, values))


def _pieces(oid: int, values: Sequence[bytes | None]) -> bytes:
    parts = [_HEADER(1, None in values, oid, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts.append(_LENGTH(len(value)))
            parts.append(value)
    return b"".join(parts)


def _header(oid: int, length: int) -> bytes:
    return _HEADER(1, 0, oid, length, 1)
