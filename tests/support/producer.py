"""A producer with a ledger: it posts a little all the time, and remembers what it was answered.

Every second event has an idempotency key and is posted again until it is accepted; the others are
posted once. So what becomes of an event whose answer was lost is known for half of them.
"""

import http.client
import itertools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.support.program import ADMIN_KEY, PATIENCE_S
from tests.support.receiver import Receiver
from tests.support.site import eventually

_PAUSE_S = 0.01
_RETRY_S = 0.05


class Answer(NamedTuple):
    """What one request was answered."""

    at: float
    seconds: float
    status: int
    retry_after: str | None


class Producer:
    """Posts from one thread, to one server after the other.

    Attributes:
        tokens: of the events that were accepted, by their numbers.
        answers: all of them, in order.
    """

    def __init__(self, urls: tuple[str, ...], key: str, size: int) -> None:
        """Take the servers, and how large events are, in bytes about."""
        self._places = itertools.cycle([urlsplit(url).netloc for url in urls])
        self._connections: dict[str, http.client.HTTPConnection] = {}
        self._key = key
        self._padding = "." * size
        self._name = os.urandom(8).hex()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.tokens: dict[int, str] = {}
        self.answers: list[Answer] = []

    @property
    def refusals(self) -> list[Answer]:
        """The answers other than 202."""
        return [answer for answer in self.answers if answer.status != 202]

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Post no more; what has a key is posted until it is accepted."""
        self._ended.set()
        self._thread.join(PATIENCE_S)
        for connection in self._connections.values():
            connection.close()
        assert self._failure is None, self._failure
        assert not self._thread.is_alive()

    def accepts(self, more: int = 20) -> None:
        """Wait until so many more events were accepted."""
        wanted = len(self.tokens) + more
        eventually(lambda: len(self.tokens), lambda count: count >= wanted or self._failure)

    def is_refused(self, more: int = 5) -> None:
        """Wait until so many more requests were refused."""
        wanted = len(self.refusals) + more
        eventually(lambda: len(self.refusals), lambda count: count >= wanted or self._failure)

    def _run(self) -> None:
        try:
            for n in itertools.count():
                if self._ended.is_set():
                    return
                self._bring_in(n)
                self._ended.wait(_PAUSE_S)
        except BaseException as error:  # noqa: BLE001 - told by `stop`
            self._failure = error

    def _bring_in(self, n: int) -> None:
        keyed = n % 2 == 0
        give_up = time.monotonic() + PATIENCE_S
        while not self._post(n, keyed=keyed) and keyed:
            assert time.monotonic() < give_up, f"event {n} is not accepted"
            threading.Event().wait(_RETRY_S)

    def _post(self, n: int, *, keyed: bool) -> bool:
        place = next(self._places)
        connection = self._connections.get(place)
        if connection is None:
            connection = http.client.HTTPConnection(place, timeout=PATIENCE_S)
            self._connections[place] = connection
        payload = {"n": [self._name, n], "padding": self._padding}
        event = {"event_type": "card.created", "payload": payload}
        if keyed:
            event["idempotency_key"] = f"{self._name}-{n}"
        headers = {"authorization": self._key, "content-type": "application/json"}
        asked = time.monotonic()
        connection.request("POST", "/v1/events", json.dumps(event), headers)
        response = connection.getresponse()
        body = response.read()
        seconds = time.monotonic() - asked
        retry_after = response.getheader("retry-after")
        self.answers.append(Answer(asked, seconds, response.status, retry_after))
        if response.status != 202:
            assert response.status in {503, 507}, body
            return False
        self.tokens[n] = json.loads(body)["token"]
        return True

    def assert_kept(self, received: Receiver, *, doubled: int = 0, subscriptions: int = 1) -> None:
        """Wait until everything that was accepted has arrived; an event with a key is one event.

        Args:
            received: subscribed to everything, so many times.
            doubled: so many deliveries may have come twice.
            subscriptions: how often each event has to come.
        """
        wanted = set(self.tokens.values())
        eventually(
            lambda: self._lacking(received, wanted, subscriptions), lambda lacking: not lacking
        )
        ours: dict[int, Counter[str]] = {}
        for one in received.requests:
            name, n = json.loads(one.body)["n"]
            if name == self._name:
                ours.setdefault(n, Counter())[one.headers["webhook-id"]] += 1
        surplus = sum(max(n - subscriptions, 0) for found in ours.values() for n in found.values())
        assert surplus <= doubled
        assert {n: found for n, found in ours.items() if n % 2 == 0 and len(found) > 1} == {}

    @staticmethod
    def _lacking(received: Receiver, wanted: set[str], each: int) -> set[str]:
        arrivals = Counter(one.headers["webhook-id"] for one in received.requests)
        return {token for token in wanted if arrivals[token] < each}

    def assert_refused_well(self) -> None:
        """Hold every refusal against what is promised: 503 or 507, in time, and when to retry."""
        assert self.refusals
        assert all(answer.retry_after is not None for answer in self.refusals)
        assert max(answer.seconds for answer in self.refusals) < 1.0


@contextmanager
def producer(*urls: str, key: str = ADMIN_KEY, size: int = 0) -> Iterator[Producer]:
    """Have a producer that posts as long as this lasts, and longer where something is owed."""
    made = Producer(urls, key, size)
    made.start()
    try:
        yield made
    finally:
        made.stop()
