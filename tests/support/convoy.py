"""Convoy's API from the outside: a bare client that knows its envelope."""

from typing import Any

import httpx

from tests.support.program import ADMIN_KEY, PATIENCE_S
from tests.support.site import Site, Tenant

BASE = "/api/v1"


class Surface:
    """The API under one path, with one key."""

    def __init__(self, url: str, path: str, key: str | None) -> None:
        self.url = f"{url}{BASE}{path}"
        self.key = key
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
        answer: dict[str, Any] = response.json()
        assert answer["status"] is (status < 400)
        return answer

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()


class Convoy(Surface):
    """A project of Convoy's, with a key of its form."""

    def __init__(self, site: Site, tenant: Tenant) -> None:
        body = {"name": "k", "project": tenant.project, "api": "convoy"}
        made = site.admin.post("/v1/api_keys", json=body).json()
        self.project: str = made["project_id"]
        self.site, self.tenant = site, tenant
        self._others: list[Surface] = []
        super().__init__(site.url, f"/projects/{self.project}", made["key"])

    def administrator(self) -> Surface:
        """Return the API as an administrator sees it."""
        return self._made("", ADMIN_KEY)

    def at(self, project: str, key: str | None) -> Surface:
        """Return a project's part of the API, by a key."""
        return self._made(f"/projects/{project}", key)

    def _made(self, path: str, key: str | None) -> Surface:
        self._others.append(Surface(self.site.url, path, key))
        return self._others[-1]

    def close(self) -> None:
        """Give the connections back."""
        super().close()
        for other in self._others:
            other.close()
