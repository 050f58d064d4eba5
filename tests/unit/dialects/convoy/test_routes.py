"""The whole table: documented row by row, each with a test that there is."""

import re
from unittest.mock import MagicMock

from tests.conventions import tree
from waypost.dialects.convoy.routes import operations
from waypost.web.fast import FastRoutes

DOCUMENT = (tree.ROOT / "docs" / "reference" / "convoy.md").read_text("utf-8")
TESTS = tree.ROOT / "tests" / "acceptance" / "clients"


def test_every_operation_is_documented() -> None:
    parts = MagicMock()
    parts.fast = FastRoutes()
    rows = [row for row in DOCUMENT.splitlines() if row.startswith("| `")]
    missing = []
    for one in operations(parts):
        words = [word for word in one.path.split("/") if word and not word.startswith("{")]
        if not any(one.method in row and words[-1] in row for row in rows):
            missing.append((one.method, one.path))
    # Portal links are one row.
    assert [path for _, path in missing if "portal-links" not in path] == []
    assert [family.method for family in parts.fast.families] == [b"POST"]


def test_every_test_that_is_named_exists() -> None:
    known = "".join(path.read_text("utf-8") for path in TESTS.glob("test_convoy*.py"))
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT)) - {"test_filter", "test_function"}
    assert len(named) > 15
    assert {name for name in named if f"def {name}(" not in known} == set()


def test_every_row_of_an_operation_names_its_proof() -> None:
    table = DOCUMENT.split("| operation |")[1].split("\n\n")[0]
    rows = table.splitlines()[2:]
    assert len(rows) > 30
    for row in rows:
        proof = row.rstrip(" |").rpartition("|")[2]
        assert "test_" in proof or "the same" in proof, row
