"""Convoy's API from the outside: a bare client that knows its envelope."""

from typing import Any

import httpx

from tests.support.documents import hold
from tests.support.program import ADMIN_KEY, PATIENCE_S
from tests.support.site import Site, Tenant, eventually

BASE = "/api/v1"


class Surface:
    """The API under one path, with one key."""

    def __init__(self, url: str, path: str, key: str | None, base: str = BASE) -> None:
        self.origin = url
        self.url = f"{url}{base}{path}"
        self.key = key
        self._others: list[Surface] = []
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self.http = httpx.Client(headers=headers, timeout=PATIENCE_S)

    def ask(self, status: int, method: str, path: str, **options: Any) -> Any:
        """Ask for something; return the data of the answer, which must have this status."""
        return self.answer(status, method, path, **options)["data"]

    def refused(self, status: int, method: str, path: str, **options: Any) -> str:
        """Ask for something that is refused; return the message."""
        answer = self.answer(status, method, path, **options)
        assert set(answer) <= {"status", "message", "data"}
        assert answer["status"] is False
        return str(answer["message"])

    def answer(self, status: int, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Ask for something; return the whole answer, which must have this status."""
        response = self.http.request(method, f"{self.url}{path}", **options)
        assert response.status_code == status, response.text
        hold("convoy", response)
        answer: dict[str, Any] = response.json()
        assert answer["status"] is (status < 400)
        return answer

    def at_root(self, base: str = BASE) -> "Surface":
        """Return what stands above, by the same key."""
        return self._keep(Surface(self.origin, "", self.key, base))

    def _keep(self, other: "Surface") -> "Surface":
        self._others.append(other)
        return other

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()
        for other in self._others:
            other.close()


class Convoy(Surface):
    """A project of Convoy's, with a key of its form."""

    def __init__(self, site: Site, tenant: Tenant) -> None:
        body = {"name": "k", "project": tenant.project, "api": "convoy"}
        made = site.admin.post("/v1/api_keys", json=body).json()
        self.project: str = made["project_id"]
        self.site, self.tenant = site, tenant
        super().__init__(site.url, f"/projects/{self.project}", made["key"])

    def endpoint(self, url: str, **more: Any) -> str:
        """Make an endpoint; return its id."""
        body = {"name": "e", "url": url, "secret": "s3cret", **more}
        return str(self.ask(201, "POST", "/endpoints", json=body)["uid"])

    def subscribe(self, endpoint: str, *types: str, **more: Any) -> str:
        """Make a subscription of an endpoint; return its id."""
        wanted = {"event_types": list(types)} if types else {}
        body = {"name": "s", "endpoint_id": endpoint, "filter_config": wanted, **more}
        return str(self.ask(201, "POST", "/subscriptions", json=body)["uid"])

    def send(self, endpoint: str, event_type: str = "a.b", data: Any = None, **more: Any) -> str:
        """Send an event to an endpoint; return its id."""
        body = {"endpoint_id": endpoint, "event_type": event_type, "data": data or {"n": 1}}
        return str(self.ask(201, "POST", "/events", json={**body, **more})["uid"])

    def event(self, uid: str) -> Any:
        """Return an event."""
        return self.ask(200, "GET", f"/events/{uid}")

    def deliveries(self, **query: Any) -> list[Any]:
        """Return deliveries, newest first."""
        found: list[Any] = self.ask(200, "GET", "/eventdeliveries", params=query)["content"]
        return found

    def settled(self, count: int, *statuses: str, **query: Any) -> list[Any]:
        """Wait until so many deliveries have one of these statuses; return them."""
        wanted = set(statuses or ("Success",))
        return eventually(
            lambda: [one for one in self.deliveries(**query) if one["status"] in wanted],
            lambda found: len(found) == count,
        )

    def administrator(self) -> Surface:
        """Return the API as an administrator sees it."""
        return self._made("", ADMIN_KEY)

    def at(self, project: str, key: str | None) -> Surface:
        """Return a project's part of the API, by a key."""
        return self._made(f"/projects/{project}", key)

    def _made(self, path: str, key: str | None) -> Surface:
        return self._keep(Surface(self.site.url, path, key))
