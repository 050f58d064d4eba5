"""What a worker has given up: tried in a process that can be spared."""

import subprocess
import sys

import pytest

from waypost.sandbox import confine
from waypost.sandbox.confine import Confinement

SCRIPT = """
import os, socket, sys
sys.path[:] = {path!r}
from waypost.sandbox.confine import Confinement

def attempt(what):
    try:
        what()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"

def read():
    open("/etc/passwd").read()

def write():
    open("/tmp/left-behind", "w").write("x")

def connect():
    socket.socket()

def start():
    os.posix_spawn("/bin/true", ["true"], {{}})

def fork():
    if not os.fork():
        os._exit(0)

def memory():
    bytearray(200_000_000)

confinement = Confinement(1_000_000)
results, keep = os.pipe()
os.dup2(1, keep)
confinement.put_on(keep)
tried = [attempt(what) for what in (read, write, connect, start, fork, memory)]
tried += [attempt(lambda: os.kill(1, 0)), attempt(lambda: os.write(keep, b"kept "))]
os.write(keep, " ".join([str(confinement.filters_calls), *tried]).encode())
os._exit(0)
"""


def test_a_confined_process_can_only_compute_and_answer() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(path=sys.path)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    kept, filters_calls, *tried = done.stdout.decode().split()
    assert kept == "kept"
    *refused, may_signal, may_write = tried
    assert may_write == "done"
    assert "done" not in refused, refused
    assert refused[-1] == "MemoryError"
    if sys.platform == "linux":
        assert filters_calls == "True"
        assert may_signal == "PermissionError"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_filter_refuses_what_it_does_not_know(machine: str) -> None:
    program = confine._filter_of(machine)
    assert program is not None
    steps = len(program) // 8
    # It looks at the machine and the number, has a pair of steps for each call, and an end.
    assert steps == 4 + 2 * len(confine._CALLS) + 1
    assert len(program) == 8 * steps


def test_a_machine_that_is_not_known_has_no_filter() -> None:
    assert confine._filter_of("vax") is None


def test_without_a_filter_it_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    assert not Confinement(1).filters_calls
