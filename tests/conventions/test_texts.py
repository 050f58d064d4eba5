"""What must not stand in a file: SQL outside the store, sleeping tests, places of one machine."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conventions import tree

SQL = re.compile(
    r"\b(SELECT\s.*\bFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM"
    r"|(CREATE|ALTER|DROP)\s+(UNIQUE\s+)?(TABLE|INDEX)|PRAGMA\s+\w+|BEGIN\s+IMMEDIATE)\b",
    re.DOTALL,
)
# Spelled in parts, so that this file does not hold what it forbids.
PLACES = "|".join(["work", "root", "farm", "opt/" + "wheels", "tmp/" + "bash_jobs"])
MACHINE = re.compile(rf"(?<![\w.~-])/({PLACES})\b")
REGISTRIES = [
    "crates" + ".io",
    "deb.deb" + "ian.org",
    "maven" + ".org",
    "npm" + "js.org",
    "proxy.go" + "lang.org",
    "py" + "pi.org",
    "python" + "hosted.org",
]


def strings(path: Path) -> Iterator[str]:
    """Yield the string literals of a Python file, f-strings' parts too, docstrings not."""
    module = tree.parse(path)
    documents = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and id(node) not in documents:
            yield value


def test_sql_stays_in_storage() -> None:
    found = [
        (tree.name(path), text)
        for path in tree.modules(tree.PACKAGE)
        if "storage" not in path.relative_to(tree.PACKAGE).parts
        for text in strings(path)
        if SQL.search(text)
    ]
    assert found == []


def test_the_search_for_sql_finds_it() -> None:
    storage = tree.modules(tree.PACKAGE / "storage")
    assert any(SQL.search(text) for path in storage for text in strings(path))


def sleeps(path: Path) -> Iterator[int]:
    """Yield the lines that wait for time to pass."""
    for node in ast.walk(tree.parse(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("sleep"):
            yield node.lineno


def test_tests_wait_for_things_and_not_for_time() -> None:
    tests = tree.modules(tree.ROOT / "tests")
    assert [f"{tree.name(path)}:{line}" for path in tests for line in sleeps(path)] == []


def test_what_is_let_pass_says_why() -> None:
    unexplained = re.compile(r"# (noqa: [A-Z0-9, ]+|type: ignore\[[a-z, -]+\]|pragma: [a-z ]+) *$")
    bare = re.compile(r"# (noqa|type: ignore)(?![:\[\w])")
    found = [
        f"{tree.name(path)}:{number}"
        for path in tree.modules(*tree.CODE)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if unexplained.search(line) or (bare.search(line) and "re.compile" not in line)
    ]
    assert found == []


def test_no_file_knows_a_machine_or_a_registry() -> None:
    found = []
    for path in tree.files():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [(tree.name(path), place.group()) for place in MACHINE.finditer(text)]
        found += [(tree.name(path), host) for host in REGISTRIES if host in text]
    assert found == []
