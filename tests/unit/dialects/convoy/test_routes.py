"""The whole table is documented."""

from unittest.mock import MagicMock

from tests.conventions import tree
from waypost.dialects.convoy.routes import operations
from waypost.web.fast import FastRoutes

DOCUMENT = (tree.ROOT / "docs" / "reference" / "convoy.md").read_text("utf-8")


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
