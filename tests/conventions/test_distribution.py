"""The tables can be distributed by project; what sweeps all projects is known."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import PrimaryKeyConstraint, Table, UniqueConstraint

from tests.conventions import tree
from waypost.storage.schema import metadata

STORAGE = tree.PACKAGE / "storage"

# Small tables that every node has a copy of, and why they don't begin with the project.
REFERENCE = {
    "alembic_version": "one row",
    "api_keys": "a key is found by its digest, before its project is known",
    "config_changes": "read in the order of one version",
    "config_version": "one row",
    "facts": "of the whole installation",
    "projects": "its key is the project",
    "shards": "256 rows",
    "workers": "the processes",
}

# Module, or module.function -> why it is no statement about projects.
OUTSIDE = {
    "apart": "a clause",
    "configuration": "reference tables alone",
    "connection": "no statement",
    "explaining.read_owners": "reference tables alone",
    "facts": "a reference table alone",
    "key_file": "a reference table alone",
    "lanes.heads": "reads lanes, each with its project",
    "pages": "runs what it is given",
    "partitions.ensure": "makes tables",
    "partitions.exist": "no statement",
    "partitions.list_all": "reads the catalogue",
    "partitions.make_ahead": "makes tables",
    "preparation": "reads the catalogue",
    "queue.find_untried": "reads deliveries, each with its project",
    "retention.go_by_index": "no statement about rows",
    "rows": "inserts rows, each with its project",
    "subscriptions.list_unparking": "a statement for each project",
    "workers": "reference tables alone",
}

# Records that hold the project that a statement is about.
BOUND = {
    "ApiKey",
    "BlockedKey",
    "Event",
    "FanOut",
    "KeyNews",
    "Principal",
    "Project",
    "Record",
    "Replay",
    "Source",
    "Sequence[LaneWanted]",
    "Sequence[Owed]",
    "Subscription",
    "Transaction",
}


def grown() -> Iterator[Table]:
    """Yield the tables that are distributed."""
    yield from (table for name, table in metadata.tables.items() if name not in REFERENCE)


def sweeps() -> Iterator[str]:
    """Yield the public functions of the store that run statements for no project in particular."""
    for path in tree.modules(STORAGE):
        if {"migrations", "sqlite"} & set(path.parts):
            continue
        for node in tree.parse(path).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            parameters = {
                one.arg: ast.unparse(one.annotation) if one.annotation else ""
                for one in (*node.args.args, *node.args.kwonlyargs)
            }
            name = f"{path.stem}.{node.name}"
            if (
                "connection" in parameters
                and "project_id" not in parameters
                and not BOUND & set(parameters.values())
                and not {path.stem, name} & OUTSIDE.keys()
            ):
                yield name


def test_keys_begin_with_the_project() -> None:
    for table in grown():
        assert next(iter(table.primary_key.columns)).name == "project_id", table.name


def test_what_is_unique_is_so_within_a_project() -> None:
    for table in grown():
        for constraint in table.constraints:
            if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint):
                assert "project_id" in constraint.columns, table.name
        unique = [index for index in table.indexes if index.unique]
        assert all("project_id" in index.columns for index in unique), table.name


def test_nothing_refers_to_another_table_by_a_foreign_key() -> None:
    assert [table.name for table in metadata.tables.values() if table.foreign_keys] == []


def test_each_reference_table_exists() -> None:
    assert REFERENCE.keys() - {"alembic_version"} <= metadata.tables.keys()


def test_the_statements_that_sweep_all_projects_are_listed() -> None:
    text = (tree.ROOT / "docs" / "reference" / "sweeps.md").read_text("utf-8")
    listed = re.findall(r"^\| `(\w+\.\w+)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(sweeps())


def texts_of(path: Path) -> Iterator[str]:
    """Yield the statements that stand in a module as text, the values in them left out."""
    for node in ast.walk(tree.parse(path)):
        if isinstance(node, ast.JoinedStr):
            parts = (one.value if isinstance(one, ast.Constant) else " ? " for one in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_joins_that_stand_as_text_are_on_the_project() -> None:
    tables = "|".join(table.name for table in grown())
    joined = re.compile(
        rf"JOIN\s+(?:{tables})\s+(?:AS\s+)?(?P<as>\w+)\s+ON\s+(?P<on>.+?)"
        r"(?=\bJOIN\b|\bWHERE\b|\bORDER\b|\)|$)",
        re.DOTALL,
    )
    found = [
        match
        for path in tree.modules(STORAGE)
        for text in texts_of(path)
        for match in joined.finditer(text)
    ]
    assert found, "no statement joins: is it still looked for in the right way?"
    assert [m[0] for m in found if f"{m['as']}.project_id = " not in m["on"]] == []


def test_what_is_outside_is_there() -> None:
    modules = {path.stem for path in tree.modules(STORAGE)}
    assert {name.partition(".")[0] for name in OUTSIDE} <= modules
