"""What processes take, read from `/proc`: processor time and memory, of one and of its family.

The family of a process is the process itself and all that descends from it. A supervised group of
servers is a family, and so is a PostgreSQL with its backends.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a family in bytes."""

    rss: int
    """Resident now, the sum of all: what they share is counted for each."""
    peak: int
    """The highest so far of the largest one."""
    processes: int


def children(pid: int) -> list[int]:
    """The processes that a process has started; none where it has ended."""
    found: list[int] = []
    with suppress(OSError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for member in found:
        found += children(member)
    return found


def count_files(pid: int) -> int:
    """Open files of a family, sockets among them; those of members that have ended are none."""
    found = 0
    for member in family(pid):
        with suppress(OSError):
            found += sum(1 for _ in (_PROC / str(member) / "fd").iterdir())
    return found


def cpu_seconds(pid: int) -> float:
    """Processor time of a family so far, user and system, all threads (10 ms steps).

    That of members which have ended is in their parents' account.
    """
    return sum(map(_cpu_ticks, family(pid))) / _TICKS_PER_S


def _cpu_ticks(pid: int) -> int:
    with suppress(OSError):
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15]))
    return 0


def own_cpu_seconds() -> float:
    """Processor time of this process and of the children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def machine_cpu_seconds() -> tuple[float, float]:
    """Seconds that all processors were busy (or taken by the hypervisor), and all there were."""
    with (_PROC / "stat").open() as lines:
        ticks = [int(field) for field in lines.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / _TICKS_PER_S, sum(ticks) / _TICKS_PER_S


def memory(pid: int) -> Memory:
    """Resident memory of a family."""
    read = [_status(member) for member in family(pid)]
    found = [status for status in read if "VmRSS" in status]
    return Memory(
        rss=sum(_kib(status["VmRSS"]) for status in found),
        peak=max((_kib(status["VmHWM"]) for status in found), default=0),
        processes=len(found),
    )


def proportional_memory(pid: int) -> int:
    """Memory of a family in bytes, what several share divided among them (PSS)."""
    return sum(map(_proportional, family(pid)))


def _proportional(pid: int) -> int:
    with suppress(OSError):
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        return _kib(_fields(lines)["Pss"])
    return 0


def _status(pid: int) -> dict[str, str]:
    with suppress(OSError):
        return _fields((_PROC / str(pid) / "status").read_text().splitlines())
    return {}


def _fields(lines: Iterable[str]) -> dict[str, str]:
    parted = (line.partition(":") for line in lines)
    return {name: value for name, _, value in parted}


def _kib(value: str) -> int:
    return int(value.split(maxsplit=1)[0]) * 1024
