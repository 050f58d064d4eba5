"""A running server that many tests share, with a project of its own for each of them."""

import http.client
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import lithic

from tests.support import contract
from tests.support.documents import hold
from tests.support.program import ADMIN_KEY, PATIENCE_S, Program, server

T = TypeVar("T")


def eventually(probe: Callable[[], T], wanted: Callable[[T], object] = bool) -> T:
    """Ask again and again, until what is found is wanted."""
    deadline = time.monotonic() + PATIENCE_S
    turn = threading.Event()
    while not wanted(found := probe()):
        assert time.monotonic() < deadline, found
        turn.wait(0.005)
    return found


def watch(response: httpx.Response) -> None:
    """Hold every answer that a client gets against the contract."""
    body, request = response.read(), response.request
    hold("native", response)
    if "waypost-project" not in request.headers:  # of which the vendor knows nothing
        contract.check(request.method, request.url.path, response.status_code, body)


async def watch_async(response: httpx.Response) -> None:
    """Do the same for an asynchronous client."""
    request = response.request
    contract.check(request.method, request.url.path, response.status_code, await response.aread())


class Tenant:
    """One project, a key for it, and the ways to ask in it.

    Attributes:
        http: a bare client with the key.
        sdk: lithic's own client, strict about what it is answered.
    """

    def __init__(self, url: str, project: str, key: str) -> None:
        self.url = url
        self.project = project
        self.key = key
        self.http = client(url, key)
        self.sdk = lithic.Lithic(
            api_key=key,
            base_url=url,
            max_retries=0,
            http_client=httpx.Client(event_hooks={"response": [watch]}, timeout=PATIENCE_S),
            _strict_response_validation=True,
        )

    def async_sdk(self) -> lithic.AsyncLithic:
        """Return lithic's asynchronous client."""
        return lithic.AsyncLithic(
            api_key=self.key,
            base_url=self.url,
            max_retries=0,
            http_client=httpx.AsyncClient(
                event_hooks={"response": [watch_async]}, timeout=PATIENCE_S
            ),
            _strict_response_validation=True,
        )

    def ask(self, status: int, method: str, path: str, **options: Any) -> Any:
        """Ask for something; return the JSON of the answer, which must have this status."""
        response = self.http.request(method, path, **options)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    def refused(self, status: int, method: str, path: str, **options: Any) -> list[str]:
        """Ask for something that is refused; return the paths of the fields to blame."""
        answer = self.ask(status, method, path, **options)
        return [error["path"] for error in answer.get("errors", [])]

    def subscribe(self, url: str, **settings: Any) -> str:
        """Make a subscription; return its token."""
        body = {"url": url, **settings}
        return str(self.ask(201, "POST", "/v1/event_subscriptions", json=body)["token"])

    def source(self, **settings: Any) -> str:
        """Make a source under which events are posted, unless told; return its token."""
        body = {"name": "s", "type": "rest_api", **settings}
        return str(self.ask(201, "POST", "/v1/sources", json=body)["token"])

    def post(self, event_type: str = "card.created", payload: Any = None, **more: Any) -> str:
        """Post an event; return its token."""
        body = {"event_type": event_type, "payload": payload or {"n": 1}, **more}
        return str(self.ask(202, "POST", "/v1/events", json=body)["token"])

    def claim(self, event: str, tx_key: str, **settings: Any) -> dict[str, Any]:
        """Claim an event; return the transaction."""
        body = {"tx_key": tx_key, **settings}
        claimed: dict[str, Any] = self.ask(
            201, "POST", f"/v1/events/{event}/transactions", json=body
        )
        return claimed

    def deliveries(self, event: str) -> list[tuple[str, str | None]]:
        """Return state and reason of each delivery of an event, newest first."""
        page = self.ask(200, "GET", f"/v1/events/{event}/deliveries")
        return [(one["state"], one["reason"]) for one in page["data"]]

    def settled(self, event: str, *states: str) -> list[tuple[str, str | None]]:
        """Wait until the deliveries of an event are in these states; return them, sorted."""
        return eventually(
            lambda: sorted(self.deliveries(event), key=str),
            lambda found: [state for state, _ in found] == sorted(states),
        )

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()
        self.sdk.close()


class Site:
    """A running server, and the projects in it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.admin = client(url, ADMIN_KEY)
        self.nobody = client(url, None)
        self._tenants: list[Tenant] = []
        self._names = itertools.count(1)

    def tenant(self, **settings: Any) -> Tenant:
        """Make a project, and a key that may do everything in it."""
        body = {"name": f"Tenant {next(self._names)}", "environment": "test", **settings}
        made = self.admin.post("/v1/projects", json=body)
        assert made.status_code == 201, made.text
        project = made.json()["token"]
        self._tenants.append(Tenant(self.url, project, self.key(project)))
        return self._tenants[-1]

    def key(self, project: str, **settings: Any) -> str:
        """Make a key of a project; return its secret."""
        body = {"name": "k", "project": project, **settings}
        made = self.admin.post("/v1/api_keys", json=body)
        assert made.status_code == 201, made.text
        return str(made.json()["key"])

    def at(self, tenant: Tenant) -> Tenant:
        """Return a tenant of an earlier server on the same database."""
        self._tenants.append(Tenant(self.url, tenant.project, tenant.key))
        return self._tenants[-1]

    def close(self) -> None:
        """Give all connections back."""
        self.admin.close()
        self.nobody.close()
        for tenant in self._tenants:
            tenant.close()


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[tuple[Program, Site]]:
    """Have a server of one's own, which must stop in order at the end."""
    with server(folder, **settings) as (program, url):
        site = Site(url)
        try:
            yield program, site
        finally:
            site.close()
        assert program.stop() == 0, program.lines


def client(url: str, key: str | None) -> httpx.Client:
    """Return a bare client, with a key or without."""
    return httpx.Client(
        base_url=url,
        headers={} if key is None else {"authorization": key},
        event_hooks={"response": [watch]},
        timeout=PATIENCE_S,
    )


def send_raw(url: str, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send the very bytes of a request, which no client would send; return status and body."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port or 80), PATIENCE_S) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()
