"""Delivery formats: how body, headers and signature are made from an event and an attempt.

A subscription names a format. The engine looks it up by name and knows nothing of what it does;
other surfaces bring formats of their own.
"""

import base64
import re
from collections.abc import Mapping
from typing import Final, Protocol, cast

import msgspec

from waypost.model import ids
from waypost.model.event import Event, Resource
from waypost.model.ids import Id
from waypost.model.subscription import SigningKey
from waypost.policy import timestamp
from waypost.policy.media import is_json
from waypost.policy.signing import sign

_JSON: Final = "application/json"
_CLOUDEVENT: Final = b"application/cloudevents+json; charset=utf-8"

_HEAD: Final = (
    b"content-type: %b\r\nwebhook-id: %b\r\nwebhook-timestamp: %d\r\nwebhook-signature: %b\r\n%b"
)

_encode: Final = msgspec.json.encode

SIGNATURE: Final = "webhook-signature"


class Outgoing(msgspec.Struct, frozen=True):
    """One attempt that is about to be made.

    Attributes:
        token: the spelled id of the event: the same on every attempt, holds no full stop.
        attempt_number: 1 for the first.
        now_s: when the attempt is made, UTC seconds since 1970.
        keys: the subscription's, expired ones among them or not.
        subscription_id: to whom.
        manual: somebody has asked for it: a resend, or a replay.
    """

    event: Event
    token: str
    delivery_id: Id
    attempt_id: Id
    attempt_number: int
    now_s: int
    keys: tuple[SigningKey, ...]
    subscription_id: Id = b""
    manual: bool = False


class Rendered(msgspec.Struct, frozen=True):
    r"""What a format makes of an attempt.

    Attributes:
        head: header lines, each `name: value\r\n`: content-type, signature and what goes with it.
        body: the bytes to send, which are the bytes signed.
    """

    head: bytes
    body: bytes


class Format(Protocol):
    """A way to spell a delivery on the wire."""

    @property
    def name(self) -> str:
        """What subscriptions call it."""
        ...

    @property
    def signature_header(self) -> str:
        """The name of the header that holds the signature."""
        ...

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body; the same outgoing gives the same bytes."""
        ...


class Configurable(Format, Protocol):
    """A format that goes by settings of each subscription."""

    def configured(self, settings: str) -> Format:
        """Return it as it is with a subscription's `format_settings`."""
        ...


def format_of(formats: Mapping[str, Format], name: str, settings: str | None) -> Format | None:
    """Return a subscription's format; None where there is none of this name.

    Args:
        formats: by name; those that go by settings are `Configurable`.
        name: what the subscription calls it.
        settings: the subscription's `format_settings`.
    """
    found = formats.get(name)
    if found is None or settings is None:
        return found
    return cast("Configurable", found).configured(settings)


class Payload:
    """The payload as it came in; the attributes of a CloudEvent are headers (its binary mode)."""

    name: Final = "payload"
    signature_header: Final = SIGNATURE

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body."""
        event = outgoing.event
        attributes = event.attributes
        if attributes.content_type is None and attributes.cloudevent is None:
            return _signed(outgoing, b"application/json", event.payload)
        return _signed(
            outgoing,
            _header_value(attributes.content_type or _JSON),
            event.payload,
            _cloudevent_lines(attributes.cloudevent or {}),
        )


class Envelope:
    """`{type, timestamp, data}`, as Standard Webhooks 1.0.0 suggests.

    A payload that is not JSON is `data_base64`, with its `content_type` beside it.
    """

    name: Final = "envelope"
    signature_header: Final = SIGNATURE

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body."""
        event = outgoing.event
        content_type = event.attributes.content_type
        fields = b'"type":%b,"timestamp":%b' % (_encode(event.type), _encode(_happened(event)))
        if not is_json(content_type):
            fields += b',"content_type":%b' % _encode(content_type)
        return _signed(outgoing, b"application/json", b"{%b,%b}" % (fields, _data(event)))


class CloudEvent:
    """A CloudEvent 1.0 in structured mode: the one that came in, or one made of a native event.

    The `source` of a native event is its project's path, and its `id` the event's token.
    """

    name: Final = "cloudevents"
    signature_header: Final = SIGNATURE

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body."""
        event = outgoing.event
        attributes = event.attributes.cloudevent or {
            "specversion": "1.0",
            "id": outgoing.token,
            "source": f"/projects/{ids.spell(ids.PROJECT, event.project_id)}",
            "type": event.type,
            "time": _happened(event),
            "datacontenttype": event.attributes.content_type or _JSON,
        }
        body = b"%b,%b}" % (_encode(attributes)[:-1], _data(event))
        return _signed(outgoing, _CLOUDEVENT, body)


class Thin:
    """No payload: what the event is and which thing it is about, to be fetched by who may."""

    name: Final = "thin"
    signature_header: Final = SIGNATURE

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body."""
        event = outgoing.event
        body = _encode(
            {
                "id": outgoing.token,
                "type": event.type,
                "timestamp": _happened(event),
                "delivery_id": ids.spell(ids.DELIVERY, outgoing.delivery_id),
                "resource": event.attributes.resource or Resource("event", outgoing.token),
            }
        )
        return _signed(outgoing, b"application/json", body)


NATIVE_FORMATS: Final[dict[str, Format]] = {
    form.name: form for form in (Payload(), Envelope(), CloudEvent(), Thin())
}


def _signed(outgoing: Outgoing, content_type: bytes, body: bytes, more: bytes = b"") -> Rendered:
    token = outgoing.token.encode()
    signature = sign(outgoing.keys, token, outgoing.now_s, body)
    return Rendered(_HEAD % (content_type, token, outgoing.now_s, signature, more), body)


def _happened(event: Event) -> str:
    occurred_at_us = event.attributes.occurred_at_us
    return timestamp.spell(ids.moment(event.id) if occurred_at_us is None else occurred_at_us)


def _data(event: Event) -> bytes:
    """Return the payload as a member of a JSON object: its own bytes, or base64 of them."""
    if is_json(event.attributes.content_type):
        return b'"data":' + event.payload
    return b'"data_base64":"%b"' % base64.b64encode(event.payload)


_HEADER_VALUE = re.compile(r"[ -~]*")
_HEADER_NAME = re.compile(r"[a-z0-9]+")
_ENCODED = re.compile(rb"[^!#$&-~]")


def _header_value(text: str) -> bytes:
    # Intake lets nothing else in; this keeps a stored value from ever ending a header line.
    if _HEADER_VALUE.fullmatch(text) is None:
        raise ValueError("not a header value")
    return text.encode()


def _cloudevent_lines(attributes: dict[str, str | int | bool]) -> bytes:
    """Spell context attributes as headers (CloudEvents 1.0, HTTP binding, section 3.1.3)."""
    if not all(map(_HEADER_NAME.fullmatch, attributes)):
        raise ValueError("not an attribute name of CloudEvents")
    return b"".join(
        b"ce-%b: %b\r\n" % (name.encode(), _percent_encoded(value))
        for name, value in attributes.items()
        if name != "datacontenttype"  # it is the content-type
    )


def _percent_encoded(value: str | int | bool) -> bytes:  # noqa: FBT001 - a type of CloudEvents
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return _ENCODED.sub(lambda found: b"%%%02X" % ord(found[0]), text.encode(errors="replace"))
