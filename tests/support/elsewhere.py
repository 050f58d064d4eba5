"""Pythons beside the project's, for clients that need a newer one: each in an environment apart."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.kept import kept

WITHOUT: Final = "WAYPOST_TEST_WITHOUT_NEWER_PYTHON"
"""Set where it is known that there is none; `.ci/run` says so as well."""

STEDI: Final = Path(__file__).parents[1] / "acceptance" / "clients" / "elsewhere" / "stedi.lock"
STEDI_NEEDS: Final = (3, 12)


def find(least: tuple[int, int]) -> Path | None:
    """Return a Python of at least this version, or None.

    It is looked for among those on the path and those that pyenv or uv have installed.
    """
    asked = f"import sys, venv; sys.exit(sys.version_info < {least})"
    for python in _candidates(least):
        done = subprocess.run(
            [str(python), "-c", asked], capture_output=True, check=False, timeout=60
        )
        if done.returncode == 0:
            return python
    return None


def _candidates(least: tuple[int, int]) -> Iterator[Path]:
    yield Path(sys.executable)
    minors = range(20, least[1] - 1, -1)
    for name in ("python3", *(f"python3.{minor}" for minor in minors)):
        found = shutil.which(name)
        if found is not None:
            yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path.home() / ".local" / "share" / "uv" / "python"
    for minor in minors:
        yield from pyenv.glob(f"3.{minor}.*/bin/python")
        yield from uv.glob(f"cpython-3.{minor}.*/bin/python3")


def client(config: pytest.Config, lock: Path, least: tuple[int, int], folder: Path) -> Path | None:
    """Return a Python that has a client, kept beside what else pytest keeps between runs.

    Args:
        config: pytest's.
        lock: what the client is.
        least: the Python that it needs.
        folder: where it is kept if pytest keeps nothing.

    Returns:
        None where there is none such, and `WITHOUT` says that this is known; else the test is
        skipped, which fails in CI.
    """
    found = find(least)
    if found is None:
        if not os.environ.get(WITHOUT):
            pytest.skip(f"there is no Python of {least[0]}.{least[1]} or newer")
        return None
    cache = getattr(config, "cache", None)
    return environment(found, lock, cache.mkdir("elsewhere") if cache else folder)


def environment(python: Path, lock: Path, folder: Path) -> Path:
    """Return the Python of an environment with what a lock names; made where it is not there yet.

    Args:
        python: the Python to make it by.
        lock: exact versions with their hashes.
        folder: where environments are kept.
    """

    def make(home: Path) -> None:
        _run(python, "-m", "venv", "--without-pip", home)
        # By the pip that is here: to bring another one there would take longer than all the rest.
        pip = (sys.executable, "-m", "pip", "--python", _inside(home), "install", "--quiet")
        _run(*pip, "--no-compile", "--no-deps", "--require-hashes", "--requirement", lock)

    return _inside(kept(folder, str(python).encode() + lock.read_bytes(), make))


def _inside(home: Path) -> Path:
    return home / "bin" / "python"


def _run(*command: str | Path) -> None:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
