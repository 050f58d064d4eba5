"""Sources: where events of others come in, and how it is told that they are who they say.

The secrets of a source are in its verifier, which is encrypted as a whole where it is kept.
"""

from enum import StrEnum
from typing import Final

import msgspec

from waypost.model.ids import Id

SOURCES_MAX: Final = 1_000
"""How many sources a project may have: all of them are held in memory."""


class SourceType(StrEnum):
    """How events come in: by webhooks of others, or posted with a key under the source."""

    HTTP = "http"
    REST_API = "rest_api"


class HashName(StrEnum):
    """The hash function of an HMAC."""

    SHA256 = "SHA256"
    SHA512 = "SHA512"


class Encoding(StrEnum):
    """How the bytes of an HMAC are spelled in a header."""

    HEX = "hex"
    BASE64 = "base64"


class Noop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="noop"):
    """Whoever knows the address may post."""


class Hmac(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hmac"):
    """A header holds the HMAC of the body."""

    header: str
    secret: str
    hash: HashName = HashName.SHA256
    encoding: Encoding = Encoding.HEX


class BasicAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="basic_auth"):
    """The `Authorization` of RFC 7617."""

    username: str
    password: str


class ApiKeyHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="api_key"):
    """A header holds a key; without a name it is what follows the scheme in `Authorization`."""

    header_value: str
    header_name: str = ""


class GitHub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="github"):
    """`X-Hub-Signature-256: sha256=<hex>`."""

    secret: str


class Shopify(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="shopify"):
    """`X-Shopify-Hmac-SHA256: <base64>`."""

    secret: str


class Twitter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="twitter"):
    """`X-Twitter-Webhooks-Signature: sha256=<base64>`, and a challenge that is answered."""

    secret: str


Verifier = Noop | Hmac | BasicAuth | ApiKeyHeader | GitHub | Shopify | Twitter

SIGNED: Final = (Hmac, GitHub, Shopify, Twitter)
"""Those that sign the body, and nothing beside it."""


class CustomResponse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sender is answered in place of the usual, once its event is kept."""

    body: str
    content_type: str = "text/plain"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One place where events come in.

    Attributes:
        mask: what stands for it in its address: hard to guess, and no secret that protects.
        event_type_location: the place in a request where its events' type is; None: it is the mask.
        idempotency_keys: the places that make up an idempotency key; none: events have none.
        forward_headers: which headers of a request are kept with its event, in lower case; None:
            all that hold no secret.
        max_bytes: of a body; None for what every event may have.
        disabled: nothing is taken in.
        challenged_us: when a challenge was answered last, UTC microseconds, to the minute.
    """

    project_id: Id
    id: Id
    mask: str
    name: str
    type: SourceType = SourceType.HTTP
    verifier: Verifier = Noop()
    custom_response: CustomResponse | None = None
    event_type_location: str | None = None
    idempotency_keys: tuple[str, ...] = ()
    forward_headers: tuple[str, ...] | None = None
    max_bytes: int | None = None
    disabled: bool = False
    challenged_us: int | None = None
