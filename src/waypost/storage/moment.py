"""The present by the database's own clock, which all processes that share it agree on."""

from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class now_us(FunctionElement[int]):  # noqa: N801 - stands in a statement as functions do
    """The moment at which the statement meets it, UTC microseconds."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_us)
def _on_sqlite(*_: Any, **_named: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"


@compiles(now_us, "postgresql")
def _on_postgresql(*_: Any, **_named: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
