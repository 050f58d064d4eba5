"""Arrays in PostgreSQL's binary format, as its driver reads them."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from psycopg.adapt import Transformer
from psycopg.pq import Format

from waypost.storage.postgres import arrays

ID = bytes(range(16))


def read(oid: int, data: bytes) -> Any:
    """Return what the driver takes an array for."""
    return Transformer().get_loader(arrays.ARRAY_OF[oid], Format.BINARY).load(data)


@pytest.mark.parametrize(
    "oid, make, values",
    [
        (arrays.INT2, arrays.int2s, [0, -1, 32_767]),
        (arrays.INT4, arrays.int4s, [0, -1, 2_147_483_647]),
        (arrays.INT8, arrays.int8s, [0, -1, 9_223_372_036_854_775_807]),
        (arrays.BYTEA, arrays.byteas, [b"", b"\x00\xff", None, b"a" * 1_000]),
        (arrays.TEXT, arrays.texts, ["", "a", None, "\u00fc\u20ac"]),
    ],
)
def test_values_come_as_they_were_sent(
    oid: int, make: Callable[[Sequence[Any]], bytes], values: list[Any]
) -> None:
    for part in ([], values[:1], values):
        assert read(oid, make(part)) == part


def test_ids_come_as_they_were_sent() -> None:
    for part in ([], [ID], [ID, bytes(16), ID]):
        assert read(arrays.UUID, arrays.uuids(part)) == [UUID(bytes=one) for one in part]


@pytest.mark.parametrize("value", ["\ud800", 1])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises((UnicodeEncodeError, AttributeError)):
        arrays.texts([value])
