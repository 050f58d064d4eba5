"""Child processes: each is started here, watched by its id and ended here whatever happens."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

STOP_DEADLINE_S = 40.0
LOG_TAIL_BYTES = 2_000


class ChildError(RuntimeError):
    """A child process did not do its part; the message holds the end of its log."""


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
            # The whole group: a supervisor's own children are not left behind.
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            raise ChildError(
                f"{self.name} did not end within {seconds:g} s\n{self.log_tail()}"
            ) from None

    def log_tail(self) -> str:
        """The end of its standard error."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
