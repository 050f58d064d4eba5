"""Child processes: each is started here, watched by its id and ended here whatever happens."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

STOP_DEADLINE_S = 40.0
LOG_TAIL_BYTES = 2_000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ChildError(RuntimeError):
    """A child process did not do its part; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes: now, and the highest so far."""

    rss: int
    peak: int


class Child:
    """A process of our own, in its own session so that Ctrl-C reaches only the parent.

    `with Child(...)` ends it on leaving: SIGTERM, and SIGKILL when the deadline has passed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        piped: bool = False,
    ) -> None:
        """Start `command`; it prints to `log`, or to `output` where `piped`."""
        self.name = name
        self.log = log
        with log.open("ab") as printed:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else printed,
                stderr=printed,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        """The running child."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """End it."""
        with suppress(ChildError):
            self.stop()

    @property
    def output(self) -> IO[bytes]:
        """Its standard output, where it was started as piped."""
        assert self._process.stdout is not None  # noqa: S101 - the caller asked for the pipe
        return self._process.stdout

    @property
    def running(self) -> bool:
        """False once it has ended."""
        return self._process.poll() is None

    def stop(self) -> int:
        """Ask it to end by SIGTERM and wait; gives its exit code.

        Raises:
            ChildError: it had to be killed.
        """
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        return self.wait(STOP_DEADLINE_S)

    def wait(self, seconds: float) -> int:
        """Wait for its end; gives its exit code.

        Raises:
            ChildError: it had to be killed after `seconds`.
        """
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise ChildError(
                f"{self.name} did not end within {seconds:g} s\n{self.log_tail()}"
            ) from None

    def log_tail(self) -> str:
        """The end of its standard error."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, user and system, all threads (10 ms steps)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def own_cpu_seconds() -> float:
    """Processor time of this process and of the children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def machine_cpu_seconds() -> tuple[float, float]:
    """Seconds that all processors were busy (or taken by the hypervisor), and all there were."""
    with Path("/proc/stat").open() as lines:
        ticks = [int(field) for field in lines.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / _TICKS_PER_S, sum(ticks) / _TICKS_PER_S


def memory(pid: int) -> Memory:
    """Resident memory of a process."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return Memory(*(int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")))


def only_child_of(pid: int) -> int:
    """The process that a wrapper such as strace started.

    Raises:
        ChildError: there is none.
    """
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid:
                    return int(entry.name)
    raise ChildError(f"process {pid} has no child")
