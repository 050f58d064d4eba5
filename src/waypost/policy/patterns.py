"""Regular expressions whose time is linear in the text, whatever the pattern: those of RE2.

There is no backtracking, hence neither back-references nor look-around. The syntax is that of
https://github.com/google/re2/wiki/Syntax, with UTF-8 and no flags but those in the pattern.
"""

from typing import Any, Final

import re2  # type: ignore[import-untyped] # it comes without types; none leave this module

PATTERN_MAX: Final = 500
"""How many characters a pattern may have."""

_ANYWHERE: Final = re2._Anchor.UNANCHORED  # noqa: SLF001 - see Pattern.finds
_NOWHERE: Final = [(-1, -1)]
_MEMORY: Final = 64 * 1024
"""Bytes that a compiled pattern may take, the states that it remembers included."""


class Pattern:
    """A compiled pattern.

    Attributes:
        size: of its program, in instructions: what one byte of text costs at worst.
    """

    __slots__ = ("_match", "size")

    def __init__(self, text: str) -> None:
        """Compile a pattern.

        Raises:
            ValueError: it is too long or too large, or RE2 does not take it; says why.
        """
        if len(text) > PATTERN_MAX:
            raise ValueError(f"must be at most {PATTERN_MAX} characters")
        compiled = _compile(text)
        self._match = compiled._regexp.Match  # noqa: SLF001 - see `finds`
        self.size = int(compiled.programsize)

    def finds(self, text: str) -> bool:
        """Tell whether it matches somewhere in a text; a lone surrogate is a character as any."""
        try:
            encoded = text.encode()
        except UnicodeEncodeError:
            encoded = text.encode("utf-8", "surrogatepass")
        # What the package's own search calls; that takes three times as long, to make a match
        # object of which nobody would ask anything.
        return bool(self._match(_ANYWHERE, encoded, 0, len(encoded)) != _NOWHERE)


def _compile(text: str) -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.never_capture = True
    options.log_errors = False
    try:
        # As bytes: for text it would count characters to every match.
        return re2.compile(text.encode(), options)
    except UnicodeEncodeError as error:
        raise ValueError("must not hold lone surrogates") from error
    except re2.error as error:
        (reason,) = error.args
        told = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"is not a regular expression that RE2 takes: {told}") from error
