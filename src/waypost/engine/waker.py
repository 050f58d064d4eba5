"""The waker: tells other processes of work that is theirs, and hears of work that is this one's.

It goes out behind the commits that it is about and on a connection of its own, so nobody waits for
it: the first at once, and then together what a few milliseconds bring. Nothing depends on it: what
is not heard of is found by the next look at what is owed.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
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

Lane = tuple[Id, Id]
"""A project and one of its subscriptions."""


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
        woken: told of the lanes to which others have committed something.
        listeners: by topic, what is called when there is something to look at.
        channel: the way to the others; None: there is none, or none that may be used.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin with nobody to tell, and nobody who listens."""
        self._loop = loop
        self._lanes: set[Lane] = set()
        self._topics: set[Topic] = set()
        self._flush_due = False
        self._flushed = 0.0
        self.woken: Callable[[Sequence[Lane]], None] = lambda _: None
        self.listeners: dict[Topic, Callable[[], None]] = {}
        self.channel: Channel | None = None

    def wake(self, project_id: Id, subscription_id: Id) -> None:
        """Tell whoever sends to a subscription that something was committed for it."""
        self._lanes.add((project_id, subscription_id))
        self._flush_soon()

    def tell(self, topic: Topic) -> None:
        """Tell the others that there is something to look at."""
        self._topics.add(topic)
        self._flush_soon()

    def heard(self, message: str) -> None:
        """Take a message of another process."""
        if message.startswith(_LANES):
            try:
                pairs = base64.b64decode(message[len(_LANES) :], validate=True)
            except binascii.Error:
                pairs = b"?"
            if len(pairs) % _PAIR == 0:
                self.woken([*_lanes(pairs)])
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
        lanes, topics = self._lanes, self._topics
        self._lanes, self._topics = set(), set()
        if self.channel is None:
            return
        if len(lanes) > MESSAGES_MAX * _PAIRS_MAX:
            topics.add(Topic.OWED)
            lanes = set()
        named = [project_id + subscription_id for project_id, subscription_id in lanes]
        messages = [topic.value for topic in topics]
        for start in range(0, len(named), _PAIRS_MAX):
            pairs = b"".join(named[start : start + _PAIRS_MAX])
            messages.append(_LANES + base64.b64encode(pairs).decode())
        if messages:
            self.channel.send(messages)


def _lanes(pairs: bytes) -> Iterator[Lane]:
    for start in range(0, len(pairs), _PAIR):
        middle = start + ID_BYTES
        yield pairs[start:middle], pairs[middle : start + _PAIR]
