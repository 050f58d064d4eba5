"""Node, for clients that are written for it: fetched from a lock, and kept between runs."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.kept import kept

CLIENTS: Final = Path(__file__).parents[1] / "acceptance" / "clients" / "node"
LEAST: Final = 18
"""The oldest Node that the clients run on."""

_LOCKED: Final = ("package.json", "package-lock.json")
_FETCH: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")


class Node:
    """A Node with clients.

    Attributes:
        packages: the folder of what was fetched.
    """

    def __init__(self, program: str, packages: Path) -> None:
        self._program = program
        self.packages = packages

    def run(self, script: str, *arguments: str, sent: str = "") -> str:
        """Run a script that lies beside the lock; return what it printed.

        Args:
            script: its name.
            arguments: on its command line.
            sent: to its standard input.
        """
        done = subprocess.run(
            [self._program, str(CLIENTS / script), *arguments],
            input=sent,
            env={**os.environ, "NODE_PATH": str(self.packages)},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def node(config: pytest.Config, folder: Path) -> Node:
    """Return a Node with what the lock names; skip the test, which fails in CI, if there is none.

    Args:
        config: pytest's, which tells where things are kept between runs.
        folder: where they are kept if it keeps nothing.
    """
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        pytest.skip("there is no Node with npm here; Debian's packages are nodejs and npm")
    version = _run(program, "--version").strip()
    if int(version.removeprefix("v").partition(".")[0]) < LEAST:
        pytest.skip(f"this Node is {version}; the clients need {LEAST} or newer")
    cache = getattr(config, "cache", None)
    return Node(program, packages(npm, cache.mkdir("node") if cache else folder))


def packages(npm: str, folder: Path) -> Path:
    """Return the folder of what the lock names; fetched where it is not there yet.

    No script of a package is run.
    """
    locked = {name: (CLIENTS / name).read_bytes() for name in _LOCKED}

    def make(home: Path) -> None:
        home.mkdir()
        for name, content in locked.items():
            (home / name).write_bytes(content)
        _run(npm, *_FETCH, "--prefix", str(home))

    return kept(folder, b"".join(locked.values()), make) / "node_modules"


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
