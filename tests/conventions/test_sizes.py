"""Small files of small functions, named for what is in them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conventions import tree

FILE_LINES = 500
FUNCTION_LINES = 60
BANNED = {"base", "common", "core", "helpers", "manager", "misc", "types", "utils"}

# "path" or "path::function" -> why it may be longer.
LONGER = {
    "src/waypost/storage/migrations/versions/0001_first_tables.py::upgrade": "a list of tables",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each function's name and length in lines, its docstring not counted."""
    for node in ast.walk(tree.parse(path)):
        if isinstance(node, Function):
            first = node.body[0]
            documented = ast.get_docstring(node, clean=False) is not None
            docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
            yield node.name, (node.end_lineno or 0) - node.lineno + 1 - docstring


def too_long() -> Iterator[tuple[str, int]]:
    """Yield what is longer than allowed, with its length."""
    for path in tree.modules(*tree.CODE):
        lines = len(path.read_text("utf-8").splitlines())
        if lines > FILE_LINES:
            yield tree.name(path), lines
        for function, length in functions(path):
            if length > FUNCTION_LINES:
                yield f"{tree.name(path)}::{function}", length


def test_files_and_functions_are_short() -> None:
    found = dict(too_long())
    assert {key: length for key, length in found.items() if key not in LONGER} == {}
    assert set(LONGER) <= set(found), "no longer too long: take it from the list"


def test_files_are_named_for_what_is_in_them() -> None:
    assert [tree.name(p) for p in tree.modules(*tree.CODE) if p.stem in BANNED] == []
