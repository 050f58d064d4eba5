"""The disk that a database lives on: how much is free, and whether it can be trusted."""

import os
from pathlib import Path
from typing import Final

NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        "9p",
        "afpfs",
        "afs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.grpcfuse",
        "fuse.osxfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
        "virtiofs",
        "webdav",
    }
)
"""File systems whose locks and shared memory SQLite's write-ahead log can't rely on.

Source: sqlite.org/wal.html, "all processes using a database must be on the same host computer".
"""


def free_bytes(database: Path) -> int:
    """Return how many bytes an ordinary user may still write to the database's disk."""
    status = os.statvfs(database.parent)
    return status.f_bavail * status.f_frsize


class HighWaterMark:
    """Says when intake must stop for lack of disk, and when it may go on.

    It goes on only with an eighth more than the reserve free, so that it does not flutter.
    """

    def __init__(self, reserve_bytes: int) -> None:
        """Take the free space that must remain for settling what is owed."""
        self._reserve = reserve_bytes
        self.full = False

    def observe(self, free: int) -> bool:
        """Take note of the bytes that are free now; return whether `full` has changed."""
        before = self.full
        if free < self._reserve:
            self.full = True
        elif free >= self._reserve + self._reserve // 8:
            self.full = False
        return self.full != before


def file_system(path: Path) -> str | None:
    """Return the type of the file system that holds `path`; None where there is no /proc."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    holding: dict[int, str] = {}
    for line in mounts:
        _, point, kind, *_ = line.split(" ")
        if path.absolute().is_relative_to(point.replace("\\040", " ")):
            holding[len(point)] = kind
    return holding[max(holding)] if holding else None
