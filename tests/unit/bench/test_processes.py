import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.processes import children, count_files, cpu_seconds, family, memory, proportional_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

BUSY = "sum(i * i for i in range(3_000_000))"
PARENT = f"""
import subprocess, sys
{BUSY}
child = subprocess.Popen([sys.executable, "-c", "{BUSY}; print(1, flush=True); input()"],
                         stdin=subprocess.PIPE)
input()
child.communicate(b"\\n")
print(2, flush=True)
input()
"""


@contextmanager
def parent() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child; both have computed for a while when the child's line is read."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"1\n"
        yield started
        started.communicate(b"\n" * 2)


def test_a_family_is_measured_as_one() -> None:
    with parent() as started:
        (child,) = children(started.pid)

        assert family(started.pid) == [started.pid, child]
        assert cpu_seconds(started.pid) > cpu_seconds(child) > 0
        group, one = memory(started.pid), memory(child)
        assert group.processes == 2
        assert group.rss > one.rss > 0
        assert group.peak >= one.peak
        assert 0 < proportional_memory(started.pid) <= group.rss


def test_the_time_of_a_child_that_has_ended_stays_in_the_account() -> None:
    with parent() as started:
        assert started.stdin is not None
        assert started.stdout is not None
        before = cpu_seconds(started.pid)
        started.stdin.write(b"\n")
        started.stdin.flush()
        assert started.stdout.readline() == b"2\n"

        assert children(started.pid) == []
        assert cpu_seconds(started.pid) >= before


def test_a_process_that_is_gone_takes_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
        assert memory(ended.pid).processes == 0
        assert children(ended.pid) == []
    assert cpu_seconds(ended.pid) == 0.0
    assert family(os.getpid())[0] == os.getpid()


def test_open_files_are_counted() -> None:
    # What an earlier test has left behind is not to be closed in between.
    gc.collect()
    gc.disable()
    before = count_files(os.getpid())
    one, other = os.pipe()
    try:
        assert count_files(os.getpid()) == before + 2
    finally:
        gc.enable()
        os.close(one)
        os.close(other)
