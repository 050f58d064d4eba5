"""The command line: `waypost --help`."""

from waypost.cli.program import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line as its installed script does."""
    app(prog_name="waypost")
