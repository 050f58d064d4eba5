"""Where a database is: a file on this machine, or a PostgreSQL server.

A URL may hold a password. It is kept to connect with, and never shown: neither by `str`, nor by
`repr`, nor in an error.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+]*)://")
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2}|$)|%00|%.?$")
_SECRET_PARAMETER: Final = re.compile(r"(?<=[?&])(password|sslpassword|oauth_client_secret)=[^&]*")
_HIDDEN: Final = "***"


@dataclass(frozen=True)
class SqliteFile:
    """One file, for one process."""

    path: Path

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)


@dataclass(frozen=True)
class PostgresUrl:
    """A database of a PostgreSQL server, which any number of processes share.

    Attributes:
        conninfo: what libpq is given, password and options as they were written.
        shown: the same without anything secret.
    """

    conninfo: str = field(repr=False)
    shown: str

    def __str__(self) -> str:
        """Return what may be shown."""
        return self.shown

    def hide(self, text: str) -> str:
        """Return a text of the driver's without what it may have repeated of the URL."""
        return text.replace(self.conninfo, self.shown)


Location = SqliteFile | PostgresUrl


def read(text: str) -> Location:
    """Read a database's URL.

    Raises:
        ValueError: it is none that Waypost can use; the reason never repeats it.
    """
    if text.startswith(_POSTGRES):
        return _postgres(text)
    if text.startswith("sqlite:"):
        return _sqlite(text)
    other = _SCHEME.match(text)
    named = f"names the database {other[1]!r}" if other else "is no URL"
    raise ValueError(
        f"{named}: give sqlite:///path/to/file.db or postgresql://user:password@host:port/database"
    )


def _sqlite(text: str) -> SqliteFile:
    path = text.removeprefix(_SQLITE)
    if path == text or not path or path == ":memory:" or "?" in path:
        raise ValueError(
            "is not sqlite:/// and the path of a file:"
            " sqlite:///relative.db or sqlite:////absolute.db"
        )
    return SqliteFile(Path(path))


def _postgres(text: str) -> PostgresUrl:
    if not text.isprintable() or " " in text:
        raise ValueError("holds a blank or a control character: write it as %20 and the like")
    if _ESCAPE.search(text):
        raise ValueError(
            "holds a % that begins no escape: in a password, write % as %25, @ as %40, / as %2F"
        )
    scheme, _, rest = text.partition("://")
    end = next((at for at, char in enumerate(rest) if char in "/?#"), len(rest))
    authority, tail = rest[:end], rest[end:]
    login, at, hosts = authority.rpartition("@")
    if "#" in tail or "@" in tail or "@" in login:
        raise ValueError(
            "holds a character that its place forbids:"
            " in a password, write @ as %40, / as %2F, ? as %3F, # as %23"
        )
    user, colon, password = login.partition(":")
    hidden = f":{_HIDDEN}" if colon and password else ""
    shown = f"{scheme}://{user}{hidden}{at}{hosts}{tail}"
    return PostgresUrl(text, _SECRET_PARAMETER.sub(rf"\1={_HIDDEN}", shown))
