"""The key that encrypts what must not be read in the database, and the file that may hold it.

The database keeps the key's fingerprint: started with another key, Waypost would sign with
garbage, so it refuses to start.
"""

import base64
import hashlib
import os
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from waypost.clock import Entropy
from waypost.model.errors import ConfigInvalid
from waypost.storage import facts

KEY_BYTES: Final = 32
_FACT: Final = "secret_key_fingerprint"


def key_file(database: Path) -> Path:
    """Return the path of the key that belongs to a database."""
    return database.with_name(database.name + ".key")


def read(database: Path) -> bytes | None:
    """Return the key kept beside a database, or None where there is no such file.

    Raises:
        ConfigInvalid: the file is no key.
    """
    file = key_file(database)
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigInvalid(f"{file} does not hold {KEY_BYTES} bytes in base64")
    return key


def make(database: Path, entropy: Entropy) -> bytes:
    """Make a key and keep it beside a database, for its owner's eyes only.

    Raises:
        FileExistsError: there is one already.
    """
    key = entropy.bits(8 * KEY_BYTES).to_bytes(KEY_BYTES, "big")
    write(key_file(database), key)
    return key


def write(file: Path, key: bytes) -> None:
    """Write a key to a new file, with its name on disk before anything is encrypted by it."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(base64.b64encode(key) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fingerprint(key: bytes) -> str:
    """Return what may be shown and stored of a key: it tells keys apart and nothing else."""
    return hashlib.sha256(b"waypost secret key\0" + key).hexdigest()[:16]


def known_fingerprint(connection: Connection) -> str | None:
    """Return the fingerprint of the key that a database was written under; None before any."""
    return facts.find(connection, _FACT)


def confirm(connection: Connection, key: bytes) -> None:
    """Bind a database to its key on the first start, and hold it to that afterwards.

    Raises:
        ConfigInvalid: the database was written under another key.
    """
    given = fingerprint(key)
    # Several processes may be the first at once: what one of them has proposed counts for all.
    known = facts.propose(connection, _FACT, given)
    if known != given:
        raise ConfigInvalid(
            f"the secret key (fingerprint {given}) is not the one that this database was written"
            f" under ({known}): set WAYPOST_SECRET_KEY to that one, or put its key file back"
        )
