"""How a database would go about statements: to see that none of them walks through a table."""

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection
from sqlalchemy import event as hooks

from waypost.storage import schema


def plans_of(
    connection: Connection, act: Callable[[], object], *, as_it_is: bool = False
) -> list[str]:
    """Return the steps of every statement of an act, as the database plans them.

    Args:
        connection: on which the act runs.
        act: runs the statements.
        as_it_is: the connection's own settings hold, however few rows there are.
    """
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        seen.append((statement, values))

    hooks.listen(connection, "before_cursor_execute", note)
    try:
        act()
    finally:
        hooks.remove(connection, "before_cursor_execute", note)
    cursor = connection.connection.cursor()
    plans: list[str] = []
    bends = connection.dialect.name == "postgresql" and not as_it_is
    if bends:
        # Few rows are quicker read than looked for: it is asked what it would do with many.
        for method in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
            cursor.execute(f"SET enable_{method} = off")
    for statement, values in seen:
        row = values[0] if isinstance(values, list) and values else values
        if connection.dialect.name == "postgresql":
            cursor.execute(f"EXPLAIN (COSTS OFF) {statement}", row)
            plans += [step[0].strip() for step in cursor.fetchall()]
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", row)
            plans += [step[3] for step in cursor.fetchall()]
    if bends:
        cursor.execute("RESET ALL")
    return plans


def walks(plans: list[str]) -> list[str]:
    """Return the steps that read a whole table."""
    tables = {*schema.metadata.tables, "e"}
    return [
        step
        for step in plans
        if "Seq Scan on" in step or (step.startswith("SCAN ") and step.split()[1] in tables)
    ]


def sorts(plans: list[str]) -> list[str]:
    """Return the steps that sort what was read."""
    return [
        step for step in plans if "TEMP B-TREE" in step or re.match(r"(->  )?Sort\b(?! K)", step)
    ]
