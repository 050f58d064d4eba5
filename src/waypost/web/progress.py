"""How much has come of the request that is being received."""

from typing import final

from waypost.web.framing import Refused
from waypost.web.limits import BODY, HEAD


@final
class Progress:
    """Counts bytes, and refuses what the parser keeps to itself for too long.

    Attributes:
        chunk: bytes of the last piece of input.
        carried: bytes of a head, since the piece that it began in.
        received: bytes of a body.
    """

    __slots__ = ("_marked", "_silent", "carried", "chunk", "received")

    def __init__(self) -> None:
        """Start with nothing."""
        self.chunk = self.carried = 0
        self.begin_body()

    def begin_body(self) -> None:
        """Start to count a body."""
        # Bytes of the body when the last piece ended; of what came in it and was no part of it.
        self.received = self._marked = self._silent = 0

    def bound(self, phase: int, limit: int, *, split: bool) -> None:
        """Refuse half a header without end, or an endless trailer.

        To be called after each piece of input that ends within a request.

        Args:
            phase: in which the piece ended.
            limit: bytes of a head, and of a trailer.
            split: whether the piece began within the same head.

        Raises:
            Refused: there is too much of it.
        """
        if phase == HEAD:
            self.carried += self.chunk if split else 1
            if self.carried > limit:
                raise Refused(431, f"The headers are larger than {limit} bytes")
        elif phase == BODY:
            self._silent = self._silent + self.chunk if self.received == self._marked else 0
            self._marked = self.received
            if self._silent > limit:
                raise Refused(431, "The trailers are too large")
