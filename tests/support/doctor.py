"""Reading what `waypost doctor` prints."""


def found_bad(out: str) -> list[str]:
    """Return the lines of what is bad: the word alone may stand in any identifier."""
    return [line for line in out.splitlines() if line.startswith("bad ")]
