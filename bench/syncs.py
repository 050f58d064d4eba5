"""How often the server asks the disk to keep what it wrote.

On SQLite the server asks: counted by strace in a run of its own, since strace slows the server;
where strace is missing or not permitted, from the server's own metric. PostgreSQL counts the syncs
of its log by itself.
"""

import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

from bench.bars import POSTGRESQL
from bench.child import ChildError
from bench.load import Load
from bench.rounds import Round, Say, run_round
from bench.server import Running, Waypost

METRIC = re.compile(rb"^waypost_storage_syncs_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)
TRACE_LINE = re.compile(r"(\d+\.\d+) (?:fsync|fdatasync)\(")


def count_traced(text: str, start: float, end: float) -> int:
    """Sync calls that began between two wall-clock times, in the output of `strace -f -ttt`."""
    return sum(start <= float(at) <= end for at in TRACE_LINE.findall(text))


def count_by_metric(page: bytes) -> float | None:
    """The sync counter on a metrics page, None where it is not exposed."""
    values = [float(value) for value in METRIC.findall(page)]
    return sum(values) if values else None


def syncs_per_1000(
    program: Waypost, load: Load, parent: Path | None, say: Say
) -> tuple[float | None, Round]:
    """Syncs per 1,000 events of a load (None: not measured), and the round behind it."""
    if program.kind == POSTGRESQL:
        measured = run_round(program, load, parent=parent, say=say)
        return measured.cost.syncs_per_1000, measured
    strace = shutil.which("strace")
    if strace:
        try:
            return _traced(program, strace, load, parent, say)
        except ChildError:
            say("strace is not permitted here; reading the server's own counter")
    pages: list[bytes] = []
    measured = run_round(
        program,
        load,
        parent=parent,
        say=say,
        around=lambda server: pages.append(server.call("GET", "/metrics")[1]),
    )
    counts = [count_by_metric(page) for page in pages]
    if counts[0] is None or counts[1] is None:
        return None, measured
    return (counts[1] - counts[0]) / measured.pace.events * 1000, measured


def _traced(
    program: Waypost, strace: str, load: Load, parent: Path | None, say: Say
) -> tuple[float, Round]:
    times: list[float] = []
    texts: list[str] = []

    def mark(server: Running) -> None:
        times.append(time.time())
        # The trace lies in the server's folder, which is gone when the round has ended.
        texts.append((server.child.log.parent / "strace").read_text())

    wrapper = (strace, "-f", "-ttt", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", "strace")
    measured = run_round(
        replace(program, wrapper=wrapper), load, parent=parent, say=say, around=mark
    )
    syncs = count_traced(texts[-1], *times)
    return syncs / measured.pace.events * 1000, measured
