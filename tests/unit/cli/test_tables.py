"""Lists for programs are parted by tabulators."""

import pytest

from waypost.cli.tables import show_table


def test_a_row_is_a_line_of_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"a": "x", "b": None, "c": ["p", "q"], "d": True, "e": "hidden"}]
    show_table(rows, ("a", "b", "c", "d"))
    assert capsys.readouterr().out == "x\t-\tp,q\tyes\n"


def test_a_terminal_gets_headings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_table([{"token": "x"}], ("token",))
    heading, row = capsys.readouterr().out.splitlines()
    assert "token" in heading
    assert row.strip() == "x"
