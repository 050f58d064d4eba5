"""The waker: tells other processes of work that is theirs, and hears of work that is this one's.

It goes out behind the commits that it is about and on a connection of its own, so nobody waits for
it: the first at once, and then together what a few milliseconds bring. Nothing depends on it: what
is not heard of is found by the next look at what is owed.
"""

import asyncio
import base64
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final, Protocol

import structlog

from waypost.model.ids import ID_BYTES, Id

_log = structlog.get_logger(__name__)

MESSAGE_MAX: Final = 7_900
"""PostgreSQL takes notifications of fewer than 8,000 bytes."""

MESSAGES_MAX: Final = 8
"""More work than so many notifications can name is told of without names."""

GATHER_S: Final = 0.004
"""What comes within so long after a message goes out with the next one."""

_LANES: Final = "lanes:"
_PAIR: Final = 2 * ID_BYTES
_PAIRS_MAX: Final = (MESSAGE_MAX - len(_LANES)) // 4 * 3 // _PAIR

_HURRIED: Final = "hurried:"
_TRIPLE: Final = 3 * ID_BYTES
_TRIPLES_MAX: Final = (MESSAGE_MAX - len(_HURRIED)) // 4 * 3 // _TRIPLE

Lane = tuple[Id, Id]
"""A project and one of its subscriptions."""

Hurried = tuple[Id, Id, Id]
"""A lane, and a delivery that is to go before all that waits there."""


class Topic(StrEnum):
    """What else there is to look at."""

    OWED = "owed"
    """More lanes than can be named are owed something."""

    WORKERS = "workers"
    """A worker came or went, or freed shards."""

    REPLAYS = "replays"
    FAN_OUTS = "fan-outs"
    CONFIGURATION = "configuration"

    WAITING = "waiting"
    """Somebody waits for events, and is to be told when some were accepted."""

    ARRIVED = "arrived"
    """Events were accepted."""


class Channel(Protocol):
    """Takes messages to the other processes, and brings theirs."""

    def send(self, messages: Sequence[str]) -> None:
        """Send messages, soon; some may be lost."""

    def close(self) -> None:
        """Send what was handed over, and end."""


class Waker:
    """For the loop's thread alone.

    Attributes:
        woken: told of the lanes to which others have committed something; and then
        hurried: of what is to go before all that waits in some of them.
        listeners: by topic, what is called when there is something to look at.
        channel: the way to the others; None: there is none, or none that may be used.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin with nobody to tell, and nobody who listens."""
        self._loop = loop
        self._lanes: set[Lane] = set()
        self._hurried: list[Hurried] = []
        self._topics: set[Topic] = set()
        self._flush_due = False
        self._flushed = 0.0
        self.woken: Callable[[Sequence[Lane]], None] = lambda _: None
        self.hurried: Callable[[Sequence[Hurried]], None] = lambda _: None
        self.listeners: dict[Topic, Callable[[], None]] = {}
        self.channel: Channel | None = None

    def wake(self, project_id: Id, subscription_id: Id, hurried: Id | None = None) -> None:
        """Tell whoever sends to a subscription that something was committed for it.

        `hurried` is the delivery, where that is to go before all that waits. If so many come at
        once that they can't be told of together, the others take their turns.
        """
        self._lanes.add((project_id, subscription_id))
        if hurried is not None and len(self._hurried) < _TRIPLES_MAX:
            self._hurried.append((project_id, subscription_id, hurried))
        self._flush_soon()

    def tell(self, topic: Topic) -> None:
        """Tell the others that there is something to look at."""
        self._topics.add(topic)
        self._flush_soon()

    def heard(self, message: str) -> None:
        """Take a message of another process."""
        if message.startswith(_LANES):
            if (lanes := _named(message.removeprefix(_LANES), _PAIR)) is not None:
                self.woken([(one[:ID_BYTES], one[ID_BYTES:]) for one in lanes])
                return
        elif message.startswith(_HURRIED):
            if (hurried := _named(message.removeprefix(_HURRIED), _TRIPLE)) is not None:
                self.hurried(
                    [(one[:ID_BYTES], one[ID_BYTES:_PAIR], one[_PAIR:]) for one in hurried]
                )
                return
        elif message in self.listeners:
            self.listeners[Topic(message)]()
            return
        # Of a later version, or of somebody else who uses the channel's name.
        _log.debug("message_unknown", size=len(message))

    def missed(self) -> None:
        """Look at everything: the way to the others was broken for a while, or is new.

        Whether others wait for events is not to be looked at. They say so again before long; to
        take it for granted would have each commit told of, though nobody may wait at all.
        """
        for topic, listener in self.listeners.items():
            if topic is not Topic.WAITING:
                listener()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            delay_s = self._flushed + GATHER_S - self._loop.time()
            if delay_s <= 0:
                # At the end of this turn of the loop: what the turn brings goes out together.
                self._loop.call_soon(self.flush)
            else:
                self._loop.call_later(delay_s, self.flush)

    def flush(self) -> None:
        """Send now what has come together."""
        self._flush_due = False
        self._flushed = self._loop.time()
        lanes, hurried, topics = self._lanes, self._hurried, self._topics
        self._lanes, self._hurried, self._topics = set(), [], set()
        if self.channel is None:
            return
        if len(lanes) > MESSAGES_MAX * _PAIRS_MAX:
            topics.add(Topic.OWED)
            lanes = set()
        named = [*lanes]
        messages = [topic.value for topic in topics]
        starts = range(0, len(named), _PAIRS_MAX)
        messages += [_LANES + _names(named[start : start + _PAIRS_MAX]) for start in starts]
        if hurried:
            # Behind their lanes, which are in memory then.
            messages.append(_HURRIED + _names(hurried))
        if messages:
            self.channel.send(messages)


def _names(named: Sequence[tuple[Id, ...]]) -> str:
    return base64.b64encode(b"".join(part for one in named for part in one)).decode()


def _named(names: str, size: int) -> list[bytes] | None:
    """Return what is named, each of so many bytes; None where it is nothing of the kind."""
    try:
        named = base64.b64decode(names, validate=True)
    except ValueError:
        return None
    if len(named) % size:
        return None
    return [named[start : start + size] for start in range(0, len(named), size)]
