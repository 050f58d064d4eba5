"""The lull behind a live delivery: then whoever may wait is least in the way of what is live.

What comes in steadily leaves a gap behind each delivery. A replay's step that begins there is most
often over before the next event comes; one that begins at any moment keeps those waiting that are
under way.
"""

import asyncio
from contextlib import suppress


class Lull:
    """For the loop's thread alone.

    Attributes:
        came: set by the next live delivery that has been settled; None while nobody waits for one.
    """

    __slots__ = ("came",)

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self.came: asyncio.Event | None = None

    def begin(self) -> None:
        """A live delivery has been settled: tell those that wait."""
        if self.came is not None:
            self.came.set()
            self.came = None

    async def wait(self, at_most_s: float) -> None:
        """Wait until a live delivery has been settled, or for so many seconds; 0: not at all."""
        if not at_most_s:
            return
        came = self.came = self.came or asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await came.wait()
