"""What a run asks of the API: subscriptions at the beginning, and what it shows at the end."""

from collections.abc import Mapping

from tests.torture.cast import Role
from tests.torture.client import Connection, Place
from tests.torture.oracle import Shown
from tests.torture.process import Receivers

_PAGE = 1_000


class Api:
    """Asks whatever process of the product answers."""

    def __init__(self, place: Place) -> None:
        """Nothing is asked yet."""
        self._place = place

    def connect(self) -> Connection:
        """Return a connection."""
        return Connection(self._place.port, self._place.key)

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, object]:
        """Send one request."""
        connection = self.connect()
        try:
            return await connection.call(method, path, body)
        finally:
            await connection.close()

    async def subscribe(self, role: Role, receivers: Receivers) -> str:
        """Make a role's subscription, and tell its receiver the secret; return its token."""
        wanted: Mapping[str, object] = {
            "url": f"http://127.0.0.1:{receivers.port}/{role.name}",
            "event_types": role.types,
            "concurrency": role.concurrency,
            "timeout_s": role.timeout_s,
            "retry_schedule": role.retry_schedule,
            "breaker": {"enabled": role.breaker},
            "ordering": role.ordering,
        }
        connection = self.connect()
        status, made = await connection.call("POST", "/v1/event_subscriptions", wanted)
        assert status == 201, made
        token = str(made["token"])
        _, secret = await connection.call("GET", f"/v1/event_subscriptions/{token}/secret")
        await connection.close()
        await receivers.command(role=role.name, secret=secret["secret"])
        return token

    async def look(self) -> Shown:
        """Ask for everything that was not delivered."""
        return Shown(
            pending=await self._list("/v1/deliveries?state=pending"),
            failed=await self._list("/v1/deliveries?state=failed"),
            diverted=await self._list("/v1/diverted_events?"),
        )

    async def _list(self, path: str) -> set[tuple[str, str]]:
        """Return the events and subscriptions of all pages of a list."""
        connection = self.connect()
        found: set[tuple[str, str]] = set()
        page = f"{path}&page_size={_PAGE}"
        while page:
            status, answer = await connection.call("GET", page)
            assert status == 200, answer
            for item in answer["data"]:
                found.add((item["event_token"], item["event_subscription_token"]))
            older = answer.get("older") or (answer["data"] or [{}])[-1].get("token")
            more = answer["has_more"]
            page = f"{path}&page_size={_PAGE}&starting_after={older}" if more else ""
        await connection.close()
        return found
