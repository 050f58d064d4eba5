"""A reverse proxy for tests that ask for literal ids: it puts real ones in their place.

Lithic's tests were written against a mock that knows any id. They ask for the event `event_token`,
the subscription `event_subscription_token`, and pages next to `starting_after` and `ending_before`.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.support import contract, proofs, relay
from tests.support.relay import Answer
from tests.support.site import Tenant

CLOSED = "http://127.0.0.1:9/"
CURSORS = ("starting_after", "ending_before")

_EVENT = re.compile(r"(/events/)(event_token|string)(?=/|$)")
_SUBSCRIPTION = re.compile(r"(/event_subscriptions/)(event_subscription_token|string)(?=/|$)")


class LiteralIds:
    """What the literal ids stand for, in one project.

    Attributes:
        faults: where answers were not as the contract has them.
        answered: how many requests went to each of the contract's operations.
    """

    def __init__(self, tenant: Tenant) -> None:
        self.faults: list[AssertionError | ValueError] = []
        self.answered: dict[tuple[str, str], int] = {}
        self._tenant = tenant
        self._lock = threading.Lock()
        self._subscription = self._subscribe()
        self._event = tenant.post("card.created")
        tenant.settled(self._event, "failed")
        page = tenant.ask(200, "GET", f"/v1/events/{self._event}/attempts")
        self._attempt = str(page["data"][0]["token"])

    def _subscribe(self) -> str:
        # Named, so that examples are of a type that a strict client knows.
        types = ["card.created"]
        return self._tenant.subscribe(CLOSED, retry_schedule=[], event_types=types)

    def real(self, target: str) -> str:
        """Return the path and query to ask for."""
        parts = urlsplit(target)
        path = _EVENT.sub(rf"\1{self._event}", parts.path)
        path = _SUBSCRIPTION.sub(rf"\1{self._subscription}", path)
        query = [
            (name, self._cursor(path) if name == value and name in CURSORS else value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
        return f"{path}?{urlencode(query)}" if query else path

    def _cursor(self, path: str) -> str:
        if path.endswith("/attempts"):
            return self._attempt
        return self._event if path == "/v1/events" else self._subscription

    def forward(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """Ask for what is meant; return status, headers and body of the answer."""
        with self._lock:
            real = self.real(target)
            asked = headers | {"authorization": self._tenant.key}
            answer = relay.send(self._tenant.url, method, real, asked, body)
            self._look(method, urlsplit(real).path, answer)
            if method in {"DELETE", "PATCH"}:
                # It is gone, or disabled, or pointed at a host that is not ours to send to.
                self._subscription = self._subscribe()
        return answer

    def _look(self, method: str, path: str, answer: Answer) -> None:
        proofs.note(method, path, answer[0])
        known = contract.operation(method, path)
        if known is not None:
            self.answered[known] = self.answered.get(known, 0) + 1
        try:
            contract.check(method, path, answer[0], answer[2])
        except (AssertionError, ValueError) as fault:
            self.faults.append(fault)


@contextmanager
def literal_ids(tenant: Tenant) -> Iterator[tuple[str, LiteralIds]]:
    """Have the proxy; yields its URL, and what it has seen."""
    ids = LiteralIds(tenant)
    with relay.relaying(ids.forward) as url:
        yield url, ids
