"""The real program as its own process, as a user starts it."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.support import proofs

PATIENCE_S = 60.0
ADMIN_KEY = "admin-key-of-the-tests"


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """Return a child's environment: ours, without settings of the caller's own."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
    # Lines come when they are printed, and are as long as they are.
    return {**ours, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **more}


def waypost(folder: Path, *arguments: str, **settings: str) -> Done:
    """Run a command of the program in a folder and wait for its end."""
    done = subprocess.run(
        [sys.executable, "-m", "waypost", *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Program:
    """A command that runs on: its lines are read as they come."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        command: Sequence[str] = (sys.executable, "-m", "waypost"),
        **settings: str,
    ) -> None:
        self._process = subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid
        self.lines: list[str] = []
        self._incoming: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._incoming.put(line.rstrip("\n"))
        self._incoming.put(None)

    def wait_for(self, wanted: Callable[[str], bool]) -> str:
        """Return the next line that is wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            line = self._incoming.get(timeout=max(0.0, deadline - time.monotonic()))
            if line is None:
                raise AssertionError("it ended:\n" + "\n".join(self.lines))
            self.lines.append(line)
            if wanted(line):
                return line

    def event(self, name: str) -> dict[str, Any]:
        """Return the next line of the log about an event."""
        line = self.wait_for(lambda line: f'"{name}"' in line)
        entry: dict[str, Any] = json.loads(line)
        return entry

    def tells(self, name: str) -> None:
        """Wait until the log has a line about an event; it may have come already."""
        if not any(f'"{name}"' in line for line in self.lines):
            self.event(name)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self) -> int:
        """Wait for the end; return the exit status."""
        status = self._process.wait(PATIENCE_S)
        while (line := self._incoming.get(timeout=PATIENCE_S)) is not None:
            self.lines.append(line)
        return status

    def stop(self) -> int:
        """Ask it to stop and wait for the end."""
        self.signal(signal.SIGTERM)
        return self.end()

    def kill(self) -> None:
        """End it however it is."""
        self._process.kill()
        self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)


@contextmanager
def server(folder: Path, *arguments: str, **settings: str) -> Iterator[tuple[Program, str]]:
    """Have a server with its database in a folder; yields it and its URL."""
    defaults = {
        "WAYPOST_LISTEN": "127.0.0.1:0",
        "WAYPOST_LOG_FORMAT": "json",
        "WAYPOST_ADMIN_KEY": ADMIN_KEY,
        "WAYPOST_EGRESS_ALLOW": "127.0.0.0/8",
    }
    program = Program(folder, "serve", *arguments, **(defaults | settings))
    try:
        yield program, program.event("server_started")["url"]
    finally:
        program.kill()


def call(
    url: str, path: str, body: Any = None, *, key: str = ADMIN_KEY, method: str | None = None
) -> tuple[int, Any]:
    """Send a request; return the status and what the JSON of the answer holds."""
    request = urllib.request.Request(
        url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": key, "content-type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        status, text = refusal.code, refusal.read()
    proofs.note(request.get_method(), urlsplit(path).path, status)
    return status, json.loads(text) if text[:1] in (b"{", b"[") else text.decode()
