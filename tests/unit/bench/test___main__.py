from pathlib import Path

import pytest

from bench.__main__ import databases_of, parser, settings_of
from bench.rounds import say_nothing


@pytest.mark.parametrize(
    "line, databases",
    [
        ("", ["sqlite"]),
        ("--database postgresql", ["sqlite", "postgresql"]),
        ("throughput --database postgresql", ["sqlite", "postgresql"]),
        ("throughput --database postgresql --alone", ["postgresql"]),
        ("latency --database both", ["sqlite", "postgresql"]),
        ("growth --database postgresql", ["postgresql"]),
        ("growth --database both", ["sqlite", "postgresql"]),
        ("backlog", ["sqlite"]),
        ("healing", ["postgresql"]),
        ("statements", ["postgresql"]),
    ],
)
def test_which_databases_are_measured(line: str, databases: list[str]) -> None:
    assert databases_of(parser().parse_args(line.split())) == databases


def test_only_postgresql_has_processes_and_each_tree_is_a_program(tmp_path: Path) -> None:
    line = ["--env", "WAYPOST_LEASE=5s", "--against", str(tmp_path), "--processes", "2"]

    settings = settings_of(parser().parse_args(line), None, say_nothing)

    assert [(made.name, made.processes) for made in settings.products] == [
        ("sqlite", 1),
        ("sqlite, against", 1),
    ]
    assert settings.products[1].tree == tmp_path.resolve()
    assert settings.products[0].settings == {"WAYPOST_LEASE": "5s"}


def test_a_load_is_for_all_subscriptions() -> None:
    line = ["--subscriptions", "8", "--connections", "16", "--seconds", "2"]

    settings = settings_of(parser().parse_args(line), None, say_nothing)

    closed, opened = settings.load(), settings.load(20, 30)
    assert (closed.types, closed.connections, closed.seconds, closed.rate) == (8, 16, 2, 0)
    assert (opened.types, opened.seconds, opened.rate) == (8, 30, 20)
