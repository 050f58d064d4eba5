"""The operation on public keys is the one that asks for no key."""

from typing import Any

from waypost.api.jwks import JwksOut, JwksQuery, JwksRoutes
from waypost.api.operation import Call
from waypost.model import ids
from waypost.model.project import Principal

NOBODY = Principal(ids.FIRST, "", ids.FIRST, frozenset())


class Keys:
    """Stands for the signing keys; shows whose are asked for."""

    def published(self, subscription_id: ids.Id | None = None) -> list[dict[str, str]]:
        return [{"of": "all" if subscription_id is None else subscription_id.hex()}]


async def test_everybody_may_ask_for_all_keys_or_those_of_one() -> None:
    keys: Any = Keys()
    [row] = JwksRoutes(keys).operations()
    assert (row.scope, row.handler is None) == (None, False)
    token = ids.spell(ids.SUBSCRIPTION, ids.LAST)
    for query, of in ((JwksQuery(), "all"), (JwksQuery(event_subscription_token=token), "ff" * 16)):
        assert row.handler is not None
        assert await row.handler(Call(NOBODY, {}, query, None)) == JwksOut([{"of": of}])
