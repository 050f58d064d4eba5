"""What Convoy has and is not here yet: refused, with a sentence that says so."""

from typing import Final

from waypost.dialects.convoy.envelope import Answer
from waypost.dialects.convoy.table import PROJECT_PATH, Call, Operation
from waypost.model.errors import InvalidInput
from waypost.model.project import Scope

PORTAL: Final = "portal links are not supported yet"

_LINKS: Final = f"{PROJECT_PATH}/portal-links"
_LINK: Final = f"{_LINKS}/{{link_id}}"


async def portal(call: Call) -> Answer[None]:
    """Refuse portal links."""
    del call
    raise InvalidInput(PORTAL)


def operations() -> list[Operation]:
    """Return the rows of the table that are refused."""
    reads, writes = Scope.SUBSCRIPTIONS_READ, Scope.SUBSCRIPTIONS_WRITE
    return [
        Operation("POST", _LINKS, writes, portal),
        Operation("GET", _LINKS, reads, portal),
        Operation("GET", _LINK, reads, portal),
        Operation("PUT", _LINK, writes, portal),
        Operation("GET", f"{_LINK}/refresh_token", reads, portal),
        Operation("PUT", f"{_LINK}/revoke", writes, portal),
    ]
