"""Buildable's own client, as far as it is about events: its poll loop, ported from JavaScript.

Its package is in no registry any more. What it does is kept to the letter: page by page until the
last, a claim for each row, any refusal of which skips the row, then the handler, then the end.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

Handler = Callable[[dict[str, Any]], Any]


class Client:
    """`createClient(secret)`: one connection, which is one thread's alone."""

    def __init__(self, url: str, secret: str, timeout_s: float = 60.0) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"X-BUILDABLE-SECRET": secret}, timeout=timeout_s
        )

    def post(self, path: str, **body: Any) -> httpx.Response:
        """Send what is not `undefined`."""
        wanted = {name: value for name, value in body.items() if value is not None}
        return self._http.post(path, json=wanted)

    def ask(self, path: str, **body: Any) -> Any:
        """Return an answer; the client throws where it is no success."""
        response = self.post(path, **body)
        response.raise_for_status()
        return response.json()

    def emit(self, event: str, payload: dict[str, Any]) -> str:
        """Emit an event; return its key."""
        answer = self.ask("/emit", event=event, payload=payload)
        assert answer["status"] == "success"
        return str(answer["key"])

    def topic(self, event_name: str, **where: Any) -> str:
        """Return the full name of an event."""
        return str(self.ask("/get-full-event-name", eventName=event_name, **where)["fullName"])

    def poll(
        self, event_name: str, handler: Handler, *, tx_key: str, since: float, **where: Any
    ) -> int:
        """Go once over all pages; return how many rows were handled.

        What `on()` repeats every three seconds, with the same `since`.
        """
        page, handled = 1, 0
        while True:
            found = self.ask(
                "/query",
                eventName=event_name,
                txKey=tx_key,
                since=since,
                txState="does-not-exist",
                page=page,
                pageSize=10,
                **where,
            )
            for row in found["rows"]:
                handled += self._transact(event_name, tx_key, row["key"], handler)
            if found["totalPages"] <= page:
                return handled
            page += 1

    def _transact(self, event_name: str, tx_key: str, key: str, handler: Handler) -> bool:
        try:
            claimed = self.ask("/init", key=key, txKey=tx_key, eventName=event_name)
        except httpx.HTTPError:
            return False  # as the client does: the next poll finds it again, or another has it
        try:
            output, state = handler(json.loads(claimed["input"] or "{}")), "finished"
        except Exception as error:  # noqa: BLE001 - the handler's own
            output, state = str(error), "failed"
        self.ask(
            "/transact",
            key=key,
            txKey=tx_key,
            eventName=event_name,
            output=json.dumps(output),
            state=state,
        )
        return True

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()


def now_ms() -> int:
    """Return what `Date.now()` does."""
    return time.time_ns() // 1_000_000


class Ledger:
    """What consumers have had, each key with the transaction key; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._had: dict[tuple[str, Any], int] = {}

    def handler(self, tx_key: str) -> Handler:
        """Return a handler that notes what it gets."""

        def handle(payload: dict[str, Any]) -> Any:
            with self._lock:
                place = (tx_key, payload["n"])
                self._had[place] = self._had.get(place, 0) + 1
            return payload["n"]

        return handle

    @property
    def had(self) -> dict[tuple[str, Any], int]:
        """How often each (transaction key, number) was had."""
        with self._lock:
            return dict(self._had)
