"""Work that would hold up the event loop, done aside by a thread, in order for each key.

A connection's requests must take effect in their order (RFC 9112, section 9.3.2). So while a
request of a key is aside, what else comes under that key goes aside as well, behind it; other keys
are not held up.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from waypost.model.ids import Id

Work = Callable[[], Any]
Then = Callable[[Any], None]


class Aside:
    """One thread for long work. Its methods are for the event loop's thread."""

    def __init__(self) -> None:
        """Start the thread when there is work."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="waypost-aside")
        self._behind: dict[Id, deque[tuple[Work, Then]]] = {}

    def holds(self, key_id: Id) -> bool:
        """Whether something of a key is aside, so that what follows must be as well."""
        return key_id in self._behind

    def run(self, key_id: Id, work: Work, then: Then) -> None:
        """Do `work` in the thread, after everything of the same key.

        Args:
            key_id: whose work it is.
            work: what takes long; touches nothing that the loop does.
            then: called on the loop with its result, or with the exception that it raised.
        """
        waiting = self._behind.get(key_id)
        if waiting is not None:
            waiting.append((work, then))
            return
        self._behind[key_id] = deque()
        self._start(key_id, work, then)

    def close(self) -> None:
        """Give the thread back once it has nothing to do."""
        self._pool.shutdown(wait=True)

    def _start(self, key_id: Id, work: Work, then: Then) -> None:
        loop = asyncio.get_running_loop()
        finish = partial(self._finished, key_id, then)
        self._pool.submit(work).add_done_callback(
            lambda future: loop.call_soon_threadsafe(finish, future)
        )

    def _finished(self, key_id: Id, then: Then, future: Future[Any]) -> None:
        waiting = self._behind[key_id]
        try:
            error = future.exception()
            then(future.result() if error is None else error)
        finally:
            if waiting:
                self._start(key_id, *waiting.popleft())
            else:
                del self._behind[key_id]
