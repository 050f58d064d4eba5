"""The wheel works by itself: in a bare environment, with its dependencies and nothing else."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import waypost

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, **environment: str) -> str:
    """Run a command and return its output; fail with it where the command does."""
    # From neither the folder nor the variable that would lead to the sources.
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd="/",
        env=outside | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel by the locked build backend."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, with dependencies at the locked versions, and return the bin folder."""
    folder = tmp_path_factory.mktemp("bare")
    versions = re.findall(r"^(\S+==\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(versions))
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel)
    return python.parent


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    information = f"waypost-{waypost.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"waypost", information}
    assert "waypost/py.typed" in names
    assert f"{information}/licenses/LICENSE" in names


def test_the_installed_program_works(installed: Path, tmp_path: Path) -> None:
    # One test, so that no two workers install it.
    assert waypost.__version__ in run(installed / "waypost", "--version")
    assert waypost.__version__ in run(installed / "python", "-m", "waypost", "--version")
    assert "serve" in run(installed / "waypost", "--help")
    database = tmp_path / "waypost.db"
    run(installed / "waypost", "migrate", WAYPOST_DATABASE_URL=f"sqlite:///{database}")
    assert database.stat().st_size
