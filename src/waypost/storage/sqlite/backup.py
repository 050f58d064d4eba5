"""Backup and restore: a consistent copy of a database that may be in use.

A copy is made under another name and renamed when it is on disk, so a file under the wanted name
is always whole.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from waypost.model.errors import ConfigInvalid, Conflict
from waypost.storage import key_file
from waypost.storage.sqlite.inspection import check, read_only

Progress = Callable[[int, int], None]
"""Hears of pages copied and pages in all."""

_PAGES_PER_STEP: Final = 512
_SIDE_FILES: Final = ("-wal", "-shm")


def back_up(database: Path, destination: Path, progress: Progress, *, with_key: bool) -> bool:
    """Copy a database, as it is at one moment, to a new file.

    Args:
        database: the database; a server may be writing to it.
        destination: the new file, readable by its owner alone.
        progress: hears how far the copy is.
        with_key: whether the key file is copied too, to `destination` + `.key`.

    Returns:
        Whether the key is beside the copy; without it signing secrets can't be read again.

    Raises:
        ConfigInvalid: there is no such database.
        Conflict: `destination` exists.
    """
    _refuse_existing(destination)
    key = key_file.read(database) if with_key else None
    if key is not None:
        _refuse_existing(key_file.key_file(destination))
    _copy(database, destination, progress)
    if key is not None:
        key_file.write(key_file.key_file(destination), key)
    return key is not None


def restore(source: Path, database: Path, progress: Progress, *, force: bool) -> bool:
    """Put a backup in the place of a database that no process has open.

    Args:
        source: a file made by `back_up`.
        database: where to; the folder exists.
        progress: hears how far the copy is.
        force: whether an existing database, and its key, may be replaced.

    Returns:
        Whether the key came with the backup.

    Raises:
        ConfigInvalid: `source` is no sound database.
        Conflict: there is a database or a key already, and `force` was not given.
    """
    if not force and database.exists():
        raise Conflict(f"{database} exists: --force puts the backup in its place")
    key = key_file.read(source)
    if key is not None and key_file.read(database) not in (None, key) and not force:
        raise Conflict(f"{key_file.key_file(database)} holds another key than the backup's")
    with read_only(source) as connection:
        wrong = check(connection)
    if wrong is not None:
        raise ConfigInvalid(f"{source} is damaged: {wrong}")
    _copy(source, database, progress, replace=True)
    if key is not None:
        key_file.key_file(database).unlink(missing_ok=True)
        key_file.write(key_file.key_file(database), key)
    return key is not None


def _copy(source: Path, target: Path, progress: Progress, *, replace: bool = False) -> None:
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with read_only(source) as connection, closing(sqlite3.connect(partial)) as copy:
            # One snapshot for all steps: without it each commit of a server would start the copy
            # over. No journal: a copy that breaks off is thrown away.
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            copy.execute("PRAGMA journal_mode = OFF")
            connection.backup(
                copy,
                pages=_PAGES_PER_STEP,
                progress=lambda _status, left, total: progress(total - left, total),
            )
            # One file, readable where nothing can be written; the server changes it back.
            copy.execute("PRAGMA journal_mode = DELETE")
        _sync(partial)
        if replace:
            for suffix in _SIDE_FILES:
                # The old log must not be taken for the new database's.
                target.with_name(target.name + suffix).unlink(missing_ok=True)
        partial.replace(target)
        key_file.sync_folder(target.parent)
    finally:
        for suffix in ("", "-journal", *_SIDE_FILES):
            with suppress(FileNotFoundError):
                partial.with_name(partial.name + suffix).unlink()


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_existing(file: Path) -> None:
    if file.exists():
        raise Conflict(f"{file} exists")
