"""A plugin for lithic's own tests: runs those that are skipped for its vendor's mock server."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take away the marks that skip a test because of Prism, the mock server."""
    for item in items:
        item.own_markers[:] = [
            mark
            for mark in item.own_markers
            if mark.name != "skip" or "Prism" not in mark.kwargs.get("reason", "")
        ]
