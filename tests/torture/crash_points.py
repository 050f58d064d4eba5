"""The crash points: the boundaries of a delivery's way at which a server can be made to die.

Each is a patch of a method of the product, put on before the server starts. Where an answer could
be on its way although it should not, the dying thread lingers, so that it would get out.
"""

import functools
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from waypost.engine import replayer
from waypost.engine.dispatcher import Dispatcher
from waypost.engine.ingest import Ingest
from waypost.engine.sender import Sender
from waypost.engine.upkeep import Upkeep
from waypost.storage import missed, queue, subscriptions
from waypost.storage.changes import Acceptance, Settlement
from waypost.storage.sqlite import hot
from waypost.storage.sqlite.committer import Committer, Write
from waypost.storage.sqlite.store import SqliteStore

LINGER_S = 0.3
SMALL_SLICE = 7

Test = Callable[..., bool]


class Trap:
    """Kills this process when it is sprung for the nth time."""

    def __init__(self, nth: int, last_words: Path) -> None:
        """Set the trap; `last_words` gets the moment of death."""
        self._left = nth
        self._last_words = last_words
        self._lock = threading.Lock()
        self._never = threading.Event()

    def spring(self, linger_s: float = 0.0) -> None:
        """Count one passage; at the last one die, on the spot or a little later."""
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._never.wait(linger_s)
        self._last_words.write_text(str(time.monotonic()))
        os.kill(os.getpid(), signal.SIGKILL)
        self._never.wait()


Point = Callable[[Trap], None]


def patch(owner: Any, name: str, replacement: Any) -> None:
    """Replace an attribute of a class or module of the product for the life of this process."""
    getattr(owner, name)
    setattr(owner, name, replacement)


def before(owner: Any, name: str, test: Test | None = None, linger_s: float = 0.0) -> Point:
    """Return the point just before a call that passes the test."""

    def install(trap: Trap) -> None:
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def patched(*args: Any, **named: Any) -> Any:
            if test is None or test(*args, **named):
                trap.spring(linger_s)
            return inner(*args, **named)

        patch(owner, name, patched)

    return install


def after(owner: Any, name: str, test: Test | None = None) -> Point:
    """Return the point just after a call that passes the test."""

    def install(trap: Trap) -> None:
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def patched(*args: Any, **named: Any) -> Any:
            result = inner(*args, **named)
            if test is None or test(*args, **named):
                trap.spring()
            return result

        patch(owner, name, patched)

    return install


def commit(kind: Callable[[Any], bool], *, done: bool) -> Point:
    """Return the point before or after the COMMIT of a transaction with some kind of change."""

    def install(trap: Trap) -> None:
        transaction, end = Committer._transaction, Committer._end
        present: list[Any] = []

        def patched(self: Committer, batch: list[Any]) -> None:
            present[:] = batch
            transaction(self, batch)

        def patched_end(self: Committer, cursor: sqlite3.Cursor) -> None:
            meant = any(kind(change) for change in present)
            if meant and not done:
                trap.spring(LINGER_S)
            end(self, cursor)
            if meant and done:
                trap.spring()

        patch(Committer, "_transaction", patched)
        patch(Committer, "_end", patched_end)

    return install


def amid_checkpoint(trap: Trap) -> None:
    """Die while another thread moves the log into the database."""
    inner = Committer._checkpoint

    def patched(self: Committer, mode: str) -> None:
        thread = threading.Thread(target=trap.spring)
        thread.start()
        inner(self, mode)
        thread.join()

    patch(Committer, "_checkpoint", patched)


def in_slices(point: Point) -> Point:
    """Return a point for replays that take several steps, however few events there are."""

    def install(trap: Trap) -> None:
        patch(missed, "SLICE", SMALL_SLICE)
        point(trap)

    return install


def accepts(change: Any) -> bool:
    """Tell whether a change brings in events."""
    return isinstance(change, Acceptance)


def settles(change: Any) -> bool:
    """Tell whether a change ends a delivery."""
    return isinstance(change, Settlement) and change.delivery is not None


def retries(change: Any) -> bool:
    """Tell whether a change puts a delivery off."""
    return isinstance(change, Settlement) and change.retry_at_us is not None


def diverts(change: Any) -> bool:
    """Tell whether a change gives a delivery up."""
    return isinstance(change, Settlement) and change.diverted is not None


def replays_some(change: Any) -> bool:
    """Tell whether a change is one step of a replay."""
    return isinstance(change, Write) and getattr(change.fn, "func", None) is replayer._owe


def _disabled(_: Dispatcher, subscription: Any, *_rest: Any) -> bool:
    return subscription.disabled_by is not None


POINTS: dict[str, Point] = {
    # accept
    "accept.routed": before(SqliteStore, "accept"),
    "accept.written": after(hot, "accept"),
    "accept.before-commit": commit(accepts, done=False),
    "accept.after-commit": commit(accepts, done=True),
    "accept.answered": after(Ingest, "_answer"),
    # send
    "send.before": before(Sender, "send"),
    "send.after": after(Sender, "send"),
    "answer.arrived": before(Dispatcher, "_answered"),
    "answer.decided": before(Dispatcher, "_settle"),
    # settle
    "settle.submitted": after(SqliteStore, "settle"),
    "settle.before-commit": commit(settles, done=False),
    "settle.after-commit": commit(settles, done=True),
    "settle.done": after(Dispatcher, "_settled"),
    "retry.before-commit": commit(retries, done=False),
    "retry.after-commit": commit(retries, done=True),
    "divert.before-commit": commit(diverts, done=False),
    "divert.after-commit": commit(diverts, done=True),
    # upkeep
    "disable.decided": before(Upkeep, "disable"),
    "disable.before-commit": after(subscriptions, "set_disabled"),
    "disable.after-commit": before(Dispatcher, "subscription_changed", _disabled),
    "clear.before-commit": after(queue, "clear"),
    "clear.between": before(Upkeep, "_clear_chunk"),
    # replay
    "replay.started": in_slices(before(replayer.Replayer, "run_once")),
    "replay.before-commit": in_slices(after(replayer, "_owe")),
    "replay.after-commit": in_slices(commit(replays_some, done=True)),
    "replay.committed": in_slices(before(Dispatcher, "owed")),
    # checkpoint
    "checkpoint.before": before(Committer, "_checkpoint"),
    "checkpoint.amid": amid_checkpoint,
    "checkpoint.after": after(Committer, "_checkpoint"),
}
