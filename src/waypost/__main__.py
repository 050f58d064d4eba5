"""`python -m waypost`: the command line, without its installed script."""

from waypost.cli import app

app(prog_name="waypost")
