"""Convoy's deliveries: the payload without needless space, signed under its own headers.

The simple signature is of the body. The advanced one is `t=<seconds>,v1=…[,v1=…][,v2=…]`: of
`<seconds>,<body>`, once for each secret that is valid, under the number of the way to sign. What is
signed is what is sent.
"""

import base64
import hmac
import re
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from waypost.model import ids
from waypost.model.event import Event
from waypost.model.subscription import SigningKey
from waypost.policy.format import Outgoing, Rendered
from waypost.policy.headers import is_reserved
from waypost.policy.media import is_json

NAME: Final = "convoy"
EVENT_ID: Final = "X-Convoy-Event-ID"
DELIVERY_ID: Final = "X-Convoy-EventDelivery-ID"
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

# By the names under which OpenSSL finds them at once.
_HASHES: Final = {"SHA256": "sha256", "SHA512": "sha512"}
_SPACE = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")|[ \t\r\n]+', re.DOTALL)
_SPACES = re.compile(rb"[ \t\r\n]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_MICROS: Final = 1_000_000

_encode: Final = msgspec.json.encode


class Version(msgspec.Struct, frozen=True, array_like=True):
    """One way to sign: SHA256 or SHA512, in hex or base64."""

    hash: str = "SHA256"
    encoding: str = "hex"


class Signed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a subscription's deliveries look like.

    Attributes:
        header: where the signature stands.
        versions: the ways to sign; the simple signature goes by the last one.
        advanced: with a time, and with every secret that is valid.
        form: the members of the payload are sent as a form.
        request_id_header: where the event's idempotency key stands.
        trace: the ids of event and delivery are sent along.
        own: headers of the subscription's own, in lower case: the event's do not replace them.
    """

    header: str = "X-Convoy-Signature"
    versions: tuple[Version, ...] = (Version(),)
    advanced: bool = True
    form: bool = False
    request_id_header: str = "X-Convoy-Idempotency-Key"
    trace: bool = False
    own: tuple[str, ...] = ()


class ConvoyFormat:
    """What Convoy's receivers expect."""

    name: Final = NAME

    def __init__(self, signed: Signed | None = None) -> None:
        """Take what deliveries look like."""
        self._signed = signed or Signed()
        own = [self._signed.header, self._signed.request_id_header, "accept", "content-type"]
        if self._signed.trace:
            own += [EVENT_ID, DELIVERY_ID]
        self._taken = frozenset(name.lower() for name in (*own, *self._signed.own))

    @property
    def signature_header(self) -> str:
        """The name of the header that holds the signature."""
        return self._signed.header

    def configured(self, settings: str) -> "ConvoyFormat":
        """Return it as it is by a subscription's settings."""
        return _made(settings)

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body."""
        event, signed = outgoing.event, self._signed
        content_type, body = self._body(event)
        signature = self._signature(outgoing, body)
        head = f"content-type: {content_type}\r\n{signed.header}: {signature}\r\n"
        known = event.attributes
        if known.idempotency_key is not None:
            head += f"{signed.request_id_header}: {known.idempotency_key}\r\n"
        if signed.trace:
            head += f"{EVENT_ID}: {ids.spell_ulid(event.id)}\r\n"
            head += f"{DELIVERY_ID}: {ids.spell_ulid(outgoing.delivery_id)}\r\n"
        for name, value in known.headers.items():
            if name.lower() not in self._taken and _may_leave(name, value):
                head += f"{name}: {value}\r\n"
        return Rendered(head.encode("latin-1"), body)

    def _body(self, event: Event) -> tuple[str, bytes]:
        content_type = event.attributes.content_type
        if not is_json(content_type):
            return content_type or JSON, event.payload
        if self._signed.form:
            return FORM, as_form(event.payload)
        return JSON, compact(event.payload)

    def _signature(self, outgoing: Outgoing, body: bytes) -> str:
        keys = _valid(outgoing.keys, outgoing.now_s)
        versions = self._signed.versions
        if not self._signed.advanced:
            return _sign(keys[0], versions[-1], body)
        content = b"%d,%b" % (outgoing.now_s, body)
        parts = [
            f"v{number}={_sign(key, version, content)}"
            for number, version in enumerate(versions, 1)
            for key in keys
        ]
        return ",".join([f"t={outgoing.now_s}", *parts])


@lru_cache(maxsize=4096)
def _made(settings: str) -> ConvoyFormat:
    return ConvoyFormat(msgspec.json.decode(settings, type=Signed))


def compact(payload: bytes) -> bytes:
    """Return JSON without the space between its parts; nothing else of it is touched."""
    if _SPACES.search(payload) is None:
        return payload
    return _SPACE.sub(lambda found: found[1] or b"", payload)


def as_form(payload: bytes) -> bytes:
    """Return the members of a payload as a form; what is no object is its member `data`.

    Texts stand as they are, null as nothing, and everything else as JSON.
    """
    members = {"data": msgspec.Raw(payload)}
    if payload.lstrip().startswith(b"{"):
        members = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    return urlencode({name: _plain(bytes(one)) for name, one in members.items()}).encode()


def _plain(text: bytes) -> str:
    if text == b"null":
        return ""
    if text.startswith(b'"'):
        found: Any = msgspec.json.decode(text)
        return str(found)
    return compact(text).decode()


def _valid(keys: tuple[SigningKey, ...], now_s: int) -> list[SigningKey]:
    """Return the keys that sign: the present one first, then the one that expires last."""
    if len(keys) == 1 and keys[0].expires_at_us is None:
        return list(keys)

    def expiry(key: SigningKey) -> float:
        return float("inf") if key.expires_at_us is None else key.expires_at_us

    found = [key for key in keys if expiry(key) > now_s * _MICROS]
    if not found:
        raise ValueError("no signing key is valid")
    return sorted(found, key=expiry, reverse=True)


@lru_cache(maxsize=4096)
def _keyed(material: bytes, name: str) -> hmac.HMAC:
    """Return an HMAC that has taken its key in; to be copied."""
    return hmac.new(material, digestmod=_HASHES[name])


def _sign(key: SigningKey, version: Version, content: bytes) -> str:
    signing = _keyed(key.material, version.hash).copy()
    signing.update(content)
    digest = signing.digest()
    return digest.hex() if version.encoding == "hex" else base64.b64encode(digest).decode()


def _may_leave(name: str, value: str) -> bool:
    return (
        _HEADER_NAME.fullmatch(name) is not None
        and not is_reserved(name)
        and _HEADER_VALUE.fullmatch(value) is not None
    )


def spelled(signed: Signed) -> str:
    """Return what deliveries look like as a subscription's `format_settings`."""
    return _encode(signed).decode()
