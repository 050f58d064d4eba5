"""The audience: which consumers have asked for which events lately, in this process."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from waypost.clock import Clock
from waypost.model.ids import Id

LATELY_S: Final = 60.0
"""For so long a consumer that has asked is expected to come again."""

REMEMBERED_MAX: Final = 10_000
"""How many are remembered: of more, those that asked least lately are forgotten."""

_Listener = tuple[Id, str, str]
"""Project, event type (empty: all of them), transaction key."""


class Audience:
    """For the loop's thread alone."""

    def __init__(self, clock: Clock) -> None:
        """Begin with nobody."""
        self._clock = clock
        self._asked: OrderedDict[_Listener, float] = OrderedDict()

    def asked(self, project_id: Id, types: Sequence[str], tx_key: str) -> None:
        """Remember that a consumer has asked for events of these types; no types: of all."""
        now = self._clock.monotonic()
        for kind in types or ("",):
            listener = (project_id, kind, tx_key)
            self._asked[listener] = now
            self._asked.move_to_end(listener)
        while len(self._asked) > REMEMBERED_MAX:
            self._asked.popitem(last=False)

    def lately(self, project_id: Id, kinds: Collection[str]) -> dict[str, set[str]]:
        """Return, for each of these types, the keys of those who asked for it lately."""
        found: dict[str, set[str]] = {kind: set() for kind in kinds}
        for listener_project, kind, tx_key in self._recent():
            if listener_project == project_id:
                for one in kinds if not kind else [kind] if kind in found else ():
                    found[one].add(tx_key)
        return found

    def _recent(self) -> Iterable[_Listener]:
        since = self._clock.monotonic() - LATELY_S
        for listener, at in reversed(self._asked.items()):
            if at < since:
                return
            yield listener
