"""Lists as tables: for people on a terminal, by tabulators for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table


def show_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print the named columns of rows."""
    texts = [[_text(row[column]) for column in columns] for row in rows]
    if not sys.stdout.isatty():
        for text in texts:
            typer.echo("\t".join(text))
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for text in texts:
        table.add_row(*text)
    Console(highlight=False).print(table)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)
