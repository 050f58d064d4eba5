"""What `waypost doctor` looks at where the database is a SQLite file."""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from waypost.cli.findings import Finding
from waypost.config import Config
from waypost.model.errors import WaypostError
from waypost.storage import key_file, migrations
from waypost.storage.sqlite import disk
from waypost.storage.sqlite.preparation import open_apart

FIXED_SQLITE: Final = (3, 51, 3)
"""The first SQLite whose write-ahead log can't lose a commit when it is reset.

Source: sqlite.org/wal.html, "The WAL-reset bug": 3.7.0 to 3.51.2.
"""

OLDEST_SQLITE: Final = (3, 37, 0)
"""The first SQLite with everything that Waypost's statements use."""


def examine(config: Config, file: Path) -> Iterator[Finding]:
    """Yield everything that there is to say about a file, its disk and its key."""
    yield _sqlite(sqlite3.sqlite_version_info)
    for look in (_database, _permissions, _secret_key, _file_system, _room):
        yield _safely(look, config, file)


def _safely(look: Callable[[Config, Path], Finding], config: Config, file: Path) -> Finding:
    try:
        return look(config, file)
    except (WaypostError, OSError) as error:
        return Finding(False, look.__name__.strip("_").replace("_", " "), str(error))


def _sqlite(version: tuple[int, ...]) -> Finding:
    name = ".".join(map(str, version))
    if version < OLDEST_SQLITE:
        return Finding(False, "sqlite", f"{name} is too old; 3.37 or newer is needed")
    if version < FIXED_SQLITE:
        return Finding(
            True,
            "sqlite",
            f"{name} has the WAL-reset bug, which takes two connections that write or checkpoint"
            " at once; in Waypost one connection alone does either, so it can't happen."
            " Don't write to the file with other programs",
        )
    return Finding(True, "sqlite", name)


def _database(_config: Config, file: Path) -> Finding:
    if not file.exists():
        return Finding(None, "database", f"{file} will be made at the first start")
    with open_apart(file, read_only=True) as connection:
        revision = migrations.current_revision(connection)
    if revision == migrations.HEAD:
        return Finding(True, "database", f"{file}, schema {revision}")
    return Finding(None, "database", f"{file}, schema {revision}: the next start migrates it")


def _permissions(_config: Config, file: Path) -> Finding:
    folder = _existing_folder(file)
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(False, "permissions", f"the folder {folder} can't be written")
    open_to_others = [
        str(one)
        for one in (file, key_file.key_file(file))
        if one.exists() and stat.S_IMODE(one.stat().st_mode) & 0o077
    ]
    if open_to_others:
        names = ", ".join(open_to_others)
        return Finding(False, "permissions", f"others than the owner can open {names}: chmod 600")
    return Finding(True, "permissions", f"only the owner can open what is in {folder}")


def _secret_key(config: Config, database: Path) -> Finding:
    file = key_file.key_file(database)
    key = config.secret_key or key_file.read(database)
    known = _fingerprint_in(database)
    where = "set" if config.secret_key is not None else f"in {file}"
    if key is None and known is None:
        return Finding(None, "secret key", f"{file} will be made at the first start")
    if key is None:
        text = f"that of this database (fingerprint {known}) is missing: set WAYPOST_SECRET_KEY"
        return Finding(False, "secret key", f"{text}, or put {file} back")
    given = key_file.fingerprint(key)
    if known not in (None, given):
        text = f"{where}, fingerprint {given}, but the database was written under {known}"
        return Finding(False, "secret key", text)
    return Finding(True, "secret key", f"{where}, fingerprint {given}")


def _fingerprint_in(database: Path) -> str | None:
    """Return the fingerprint of the key that a database needs; None where there is none yet."""
    if not database.exists():
        return None
    with open_apart(database, read_only=True) as connection:
        if migrations.current_revision(connection) is None:
            return None
        return key_file.known_fingerprint(connection)


def _file_system(_config: Config, file: Path) -> Finding:
    folder = _existing_folder(file)
    kind = disk.file_system(folder)
    if kind in disk.NETWORK_FILE_SYSTEMS:
        return Finding(False, "file system", f"{folder} is on {kind}: SQLite needs a local disk")
    return Finding(True, "file system", kind or "can't be told here; it must be a local disk")


def _room(config: Config, file: Path) -> Finding:
    free = disk.free_bytes(_existing_folder(file) / "x")
    text = f"{free / 2**30:.1f} GiB free; intake stops below {config.disk_reserve / 2**30:.2f} GiB"
    return Finding(free >= config.disk_reserve, "disk", text)


def _existing_folder(file: Path) -> Path:
    folder = file.absolute().parent
    while not folder.exists():
        folder = folder.parent
    return folder
