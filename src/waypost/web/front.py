"""What all the HTTP connections of a process share."""

from collections.abc import Callable
from typing import Final

from waypost.clock import Clock
from waypost.web.errors import ErrorCounts
from waypost.web.fast import FastRoutes, Header, Refusal
from waypost.web.framing import Refused
from waypost.web.limits import REQUEST_COST_BYTES, ByteBudget, Connections, HttpLimits
from waypost.web.memo import KnownHeads
from waypost.web.responses import ResponseHeads

RETRY_SOON: Final[tuple[Header, ...]] = ((b"retry-after", b"1"),)


class HttpFront:
    """What all the connections of a process share: routes, limits, counts."""

    def __init__(
        self,
        routes: FastRoutes,
        limits: HttpLimits,
        *,
        refuse: Callable[[bytes, int, str], Refusal],
        clock: Clock,
        errors: ErrorCounts,
    ) -> None:
        """Keep what the connections need.

        Args:
            routes: the fast routes.
            limits: what a client may take.
            refuse: renders a refusal (request target, status, sentence) where no fast route has
                the path; the target is empty where it never became known.
            clock: for the deadlines.
            errors: where errors are counted.
        """
        self.routes = routes
        self.limits = limits
        self.refuse = refuse
        self.errors = errors
        self.budget = ByteBudget(limits.intake_bytes)
        self.connections = Connections(limits, clock.monotonic)
        self.heads = ResponseHeads()
        self.known = KnownHeads()

    def refusal(self, target: bytes, status: int, message: str) -> Refusal:
        """Return a refusal in the envelope of the surface that has the target."""
        refuse = self.routes.refusal_for(target)
        return (refuse(status, message), ()) if refuse else self.refuse(target, status, message)

    def take(self, length: int, *, behind: bool) -> int:
        """Take what a request costs from the budget, and return it.

        A request that waits `behind` another one costs more than its body, so that thousands of
        small ones in one packet are not free; a lone one without a body, such as a probe, is.

        Raises:
            Refused: there is no room.
        """
        cost = length + REQUEST_COST_BYTES if behind else length
        if not self.budget.take(cost):
            raise overloaded()
        return cost


def overloaded() -> Refused:
    """Return the refusal for want of room."""
    return Refused(503, "The server is overloaded; try again", RETRY_SOON)
