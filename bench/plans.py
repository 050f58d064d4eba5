"""Which plans PostgreSQL used, as its extension auto_explain has written them into the log."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

GROWING = ("events", "deliveries", "attempts", "queue")
"""The tables that grow, whose partitions have names that begin so."""

_ENTRY = re.compile(
    r"^.*?LOG:  duration: (?P<ms>[\d.]+) ms  plan:\n(?P<body>(?:\t.*\n?)*)", re.MULTILINE
)
_SCAN = re.compile(rf"Seq Scan on (?:\w+\.)?((?:{'|'.join(GROWING)})(?:_\w*\d)?)\b")
_NEVER = re.compile(r"\(never executed\)")


@dataclass(slots=True)
class Explained:
    """All executions of one statement."""

    calls: int = 0
    total_ms: float = 0.0
    worst_ms: float = 0.0
    worst_plan: str = ""
    scans: int = 0
    """Executions that read a growing table from end to end."""


def entries(log: str) -> Iterator[tuple[str, float, str]]:
    """Each plan in a log: statement, milliseconds, plan."""
    for found in _ENTRY.finditer(log):
        lines = [line.removeprefix("\t") for line in found["body"].splitlines()]
        start = next((i for i, line in enumerate(lines) if "(cost=" in line), len(lines))
        text = " ".join(" ".join(lines[:start]).split())
        yield text.removeprefix("Query Text: "), float(found["ms"]), "\n".join(lines[start:])


def explained(log: str) -> dict[str, Explained]:
    """The statements of a log, those that took longest in total first."""
    found: dict[str, Explained] = {}
    for statement, took_ms, plan in entries(log):
        one = found.setdefault(statement, Explained())
        one.calls += 1
        one.total_ms += took_ms
        one.scans += bool(scanned(plan))
        if took_ms >= one.worst_ms:
            one.worst_ms, one.worst_plan = took_ms, plan
    return dict(sorted(found.items(), key=lambda item: -item[1].total_ms))


def scanned(plan: str) -> Counter[str]:
    """The growing tables that a plan read from end to end, with how often."""
    lines = (line for line in plan.splitlines() if not _NEVER.search(line))
    return Counter(match for line in lines for match in _SCAN.findall(line))


def written(found: dict[str, Explained]) -> str:
    """All of it, for a file: each statement with the plan of its slowest execution."""
    return "\n\n".join(
        f"=== {one.calls} calls, {one.total_ms:.1f} ms, slowest {one.worst_ms:.2f} ms, "
        f"{one.scans} with sequential scans of growing tables\n{statement}\n{one.worst_plan}"
        for statement, one in found.items()
    )
