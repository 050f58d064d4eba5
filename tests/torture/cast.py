"""The subscriptions of a run and how their receivers behave: the same in every process."""

import msgspec

from tests.torture.ledger import HANGS

SLOW_S = 0.3
LATE_S = 3.0


class Reply(msgspec.Struct, frozen=True):
    """How a receipt is answered: `status` after `delay_s`; HANGS: never."""

    status: int
    delay_s: float = 0.0


class Role(msgspec.Struct, frozen=True):
    """One subscription.

    Attributes:
        types: the event types that it asks for, as the API takes them; None for all.
        may_fail: deliveries may end in the dead-letter box; otherwise each must be delivered.
        hangs: its attempts may take more than a second, so that they count beside the ceiling.
        breaker: it has one; who fails by a script has none, for that would only take longer.
        ordering: in which order it is sent to: none, key or strict.
    """

    name: str
    types: tuple[str, ...] | None = None
    concurrency: int = 32
    timeout_s: float = 10.0
    retry_schedule: tuple[float, ...] = (0.2, 0.4, 0.4, 0.4)
    may_fail: bool = False
    hangs: bool = False
    breaker: bool = True
    ordering: str = "none"

    def wants(self, event_type: str) -> bool:
        """Tell whether it asks for an event of this type."""
        if self.types is None:
            return True
        prefix = event_type.partition(".")[0] + ".*"
        return event_type in self.types or prefix in self.types


STEADY = Role("steady")
TWIN = Role("twin")
SLOW = Role("slow", types=("slow.*",), concurrency=16, hangs=True)
FLAKY = Role(
    "flaky",
    types=("order.*",),
    concurrency=8,
    timeout_s=0.5,
    retry_schedule=(0.1, 0.2, 0.2, 0.2),
    may_fail=True,
    hangs=True,
    breaker=False,
)
GONE = Role("gone", types=("leave.*",), concurrency=1, may_fail=True, breaker=False)
MENDING = Role("mending", concurrency=4, retry_schedule=(), breaker=False)
LATE = Role("late", concurrency=4, retry_schedule=(), breaker=False)

KEYED = Role("keyed", ordering="key")
STUMBLING = Role(
    "stumbling", retry_schedule=(0.2, 0.2), may_fail=True, breaker=False, ordering="key"
)
STRICT = Role(
    "strict",
    types=("order.*",),
    retry_schedule=(0.05, 0.1, 0.1),
    breaker=False,
    ordering="strict",
)

ORDERED_CAST = (KEYED, STUMBLING, STRICT)
"""Those that are sent to in an order, beside one that fails some for ever and some for a while."""

CAST = (STEADY, TWIN, SLOW, FLAKY, GONE)

TYPES = ("plain.tick",) * 10 + ("order.created",) * 8 + ("slow.report", "leave.note")
"""Event types, each as often as it comes up."""

GONE_AFTER = 3


class Manners:
    """How the receivers behave; one for a whole run, since they remember."""

    def __init__(self) -> None:
        """Nothing has arrived yet."""
        self._tries: dict[tuple[str, str], int] = {}
        self._arrived: dict[str, int] = {}
        self.mended = False

    def reply(self, role: str, token: str, n: int) -> Reply:
        """Decide how the next receipt of a delivery is answered."""
        tries = self._tries[role, token] = self._tries.get((role, token), 0) + 1
        arrived = self._arrived[role] = self._arrived.get(role, 0) + 1
        match role:
            case "slow":
                return Reply(200, SLOW_S)
            case "flaky":
                return _flaky(n, tries)
            case "gone":
                return Reply(200 if arrived < GONE_AFTER else 410, 0.02)
            case "stumbling":
                return _stumbling(n, tries)
            case "strict":
                return Reply(503 if n % 8 == 3 and tries == 1 else 200)
            case "mending":
                return Reply(200 if self.mended else 500)
            case "late":
                return Reply(200, LATE_S) if self.mended else Reply(500)
            case _:
                return Reply(204)


def _stumbling(n: int, tries: int) -> Reply:
    # By what is left of a number whose remainders tell its key: every key has some of each.
    turn = n // 5 % 32
    if turn == 1:
        return Reply(500)
    return Reply(503 if turn % 4 == 3 and tries == 1 else 200)


def _flaky(n: int, tries: int) -> Reply:
    if n % 16 == 1:
        return Reply(500)
    if n % 64 == 2 and tries == 1:
        return Reply(HANGS)
    return Reply(503 if n % 4 == 3 and tries <= 2 else 200)
