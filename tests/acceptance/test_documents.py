"""What the documents tell people to type works, as it stands there."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conventions import tree
from tests.support.program import PATIENCE_S, environment
from waypost.telemetry import MEASURES

DOCS = tree.ROOT / "docs"
BLOCK = re.compile(r"^( *)```(sh|python|json)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
RUNS_ON = re.compile(r"\b(waypost serve|python receiver\.py)$")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def blocks(page: str, language: str) -> list[str]:
    """Return a page's blocks of one language, as they are to be typed."""
    found = BLOCK.findall((DOCS / page).read_text("utf-8"))
    return [
        re.sub(rf"^{indent}", "", text, flags=re.MULTILINE).strip()
        for indent, kind, text in found
        if kind == language
    ]


class Terminal:
    """A folder, and a shell whose variables last; what runs on runs in the background."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = {"8080": str(free_port()), "9000": str(free_port())}
        programs = folder / "bin"
        programs.mkdir()
        for name, command in (("python", ""), ("waypost", "-m waypost")):
            script = programs / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
            script.chmod(0o755)
        self._environment = environment(
            PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
            WAYPOST_LISTEN=f"127.0.0.1:{self._ports['8080']}",
        )
        self._script = "set -eu\n"

    def own(self, text: str) -> str:
        """Return a text with ports that are free here."""
        for port, free in self._ports.items():
            text = text.replace(port, free)
        return text

    def type(self, block: str) -> None:
        """Add a block to what is typed."""
        if "pip install" in block:
            return
        block = self.own(block)
        if RUNS_ON.search(block):
            port = self._ports["8080" if "serve" in block else "9000"]
            answers = f"(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null"
            log = "server.log" if "serve" in block else "receiver.log"
            block = f"{block} >{log} 2>&1 &\nuntil {answers}; do sleep 0.05; done"
        self._script += block + "\n"

    def run(self, after: str = "") -> str:
        """Type it all; return what it prints."""
        script = "trap 'kill $(jobs -p) || :; wait || :' EXIT\n" + self._script + after
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_the_tutorial_ends_with_an_event_received(terminal: Terminal) -> None:
    (receiver,) = blocks("tutorial/first-event.md", "python")
    (terminal.folder / "receiver.py").write_text(terminal.own(receiver))
    for block in blocks("tutorial/first-event.md", "sh"):
        terminal.type(block)
    out = terminal.run('\nuntil grep -q "$EVENT" receiver.log; do sleep 0.05; done\n')
    assert '"duplicate":false' in out
    assert '"attempts"' in out or '"data"' in out


@pytest.mark.parametrize("page", ["how-to/rotate-a-secret.md", "how-to/back-up.md"])
def test_a_how_to_works_beside_a_running_server(terminal: Terminal, page: str) -> None:
    for block in blocks("tutorial/first-event.md", "sh")[1:5]:
        terminal.type(block)
    for block in blocks(page, "sh"):
        terminal.type(block)
    out = terminal.run()
    assert "bad" not in out


def test_the_how_to_of_transforms_shows_what_is_answered(terminal: Terminal) -> None:
    page = "how-to/transform-events.md"
    for block in blocks("tutorial/first-event.md", "sh")[1:5] + blocks(page, "sh"):
        terminal.type(block)
    out = terminal.run()
    answers = blocks(page, "json")
    assert len(answers) == 3
    for answer in answers:
        assert answer in out


def test_the_page_of_metrics_names_them_all() -> None:
    page = (DOCS / "reference" / "metrics.md").read_text("utf-8")
    told = set(re.findall(r"^\| `(waypost_\w+)", page, re.MULTILINE))
    assert told == {f"waypost_{one.name}{'_total' if one.grows else ''}" for one in MEASURES}


def test_the_page_of_commands_names_them_all() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "waypost", "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    commands = set(re.findall(r"^│ ([a-z][a-z-]*) ", done.stdout, re.MULTILINE))
    page = (DOCS / "reference" / "command-line.md").read_text("utf-8")
    told = set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))
    assert told == commands != set()
