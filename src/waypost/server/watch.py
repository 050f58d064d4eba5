"""What is looked at once a second: the disk, and how much is owed."""

import asyncio
import resource
import sys
from pathlib import Path
from typing import Final

import structlog

from waypost.engine.ingest import Ingest
from waypost.model.errors import Unavailable
from waypost.storage.depth import queue_depth
from waypost.storage.sqlite import disk
from waypost.storage.sqlite.disk import HighWaterMark
from waypost.storage.store import Store

_log = structlog.get_logger(__name__)

EVERY_S: Final = 1.0
DEPTH_EVERY: Final = 10
"""So many looks at the disk make one at the queue."""


class Watch:
    """Closes the intake while the disk of a file is nearly full.

    Attributes:
        free_bytes: on the database's disk, at the last look.
        depth: deliveries that were owed at the last look.
    """

    def __init__(
        self,
        store: Store,
        ingest: Ingest,
        *,
        disk: Path | None,
        reserve_bytes: int,
        counts: bool,
    ) -> None:
        """Take what is looked at.

        Args:
            store: for what is owed.
            ingest: closed while the disk is nearly full.
            disk: the file whose disk it is; None: there is none to look at.
            reserve_bytes: the free space that must remain.
            counts: whether to count what is owed.
        """
        self._store = store
        self._ingest = ingest
        self._disk = disk
        self._counts = counts
        self._mark = HighWaterMark(reserve_bytes)
        self._looks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._counting: asyncio.Task[None] | None = None
        self.free_bytes = 0
        self.depth = 0

    @property
    def is_full(self) -> bool:
        """Whether the intake is closed for lack of disk."""
        return self._mark.full

    def start(self) -> None:
        """Look now, and once a second from now on."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(EVERY_S, self.start)
        self.look()
        if self._counts and self._looks % DEPTH_EVERY == 0 and self._counting is None:
            self._counting = loop.create_task(self._count())
        self._looks += 1

    async def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._counting is not None:
            await self._counting

    def look(self) -> None:
        """Look at the disk."""
        if self._disk is None:
            return
        self.free_bytes = disk.free_bytes(self._disk)
        if not self._mark.observe(self.free_bytes):
            return
        if self._mark.full:
            self._ingest.close(full=True)
            _log.error("disk_low", free_bytes=self.free_bytes)
        else:
            self._ingest.open()
            _log.info("disk_recovered", free_bytes=self.free_bytes)

    async def _count(self) -> None:
        try:
            self.depth = await self._store.read(queue_depth)
        except Unavailable:
            _log.debug("count_failed", reason="the database does not answer")
        except Exception:  # noqa: BLE001 - a number for a dashboard is worth a line in the log
            _log.exception("count_failed")
        finally:
            self._counting = None


def resident_bytes() -> float:
    """Return the memory that this process occupies; where the system can't tell, its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()
