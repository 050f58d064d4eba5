"""The sender: one try of a delivery, from the event in memory to a request on its way.

What does not change from event to event (where to, the start of the head, the keys) is prepared
once for each subscription, as an `Address`.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from msgspec.structs import replace

from waypost import __version__
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, Timings
from waypost.model.errors import InvalidInput
from waypost.model.event import Event
from waypost.model.exchange import Exchange, FailureKind, TransportFailure
from waypost.model.ids import Id
from waypost.model.subscription import NOTHING_SET, Inheritable, SigningKey, Subscription
from waypost.model.verification import VerificationMode
from waypost.policy import urls
from waypost.policy.format import Format, Outgoing, format_of
from waypost.policy.terms import terms_of
from waypost.policy.urls import Destination
from waypost.policy.verification import ORIGIN
from waypost.policy.work import Work

USER_AGENT: Final = f"Waypost/{__version__}".encode()

_REPLAY: Final = DeliveryClass.REPLAY

Done = Callable[[Exchange], None]
Headers = Mapping[str, str] | None


class Call(Protocol):
    """A request on its way."""

    def abort(self) -> None:
        """Break it off; its `done` hears of ABORTED."""
        ...


class Post(Protocol):
    """Sends requests to one destination."""

    def __call__(self, head: bytes, body: bytes, timeout_s: float, done: Done, /) -> Call:
        """Send one request; `done` is called once, later."""
        ...


class Poster(Protocol):
    """What the sender needs of the transport."""

    def to(self, project_id: Id, destination: Destination, *, insecure_tls: bool = False) -> Post:
        """Return what sends a project's requests to a destination."""
        ...


Authenticate = Callable[[Subscription, Post], Post]
"""Returns what sends as a post does, with what proves who sends."""


class Address:
    """Where and how a subscription's deliveries are sent; made anew when its settings change.

    Attributes:
        destination: where to; None where the URL is none.
        post: what sends there; None where nothing can be sent, or this only shows what would be.
        refusal: why nothing can be sent.
        subscription_id: whose it is.
        start: the head up to what differs from event to event.
        headers: the subscription's own, which `start` holds.
        terms: the settings that hold, the project's defaults included.
    """

    __slots__ = (
        "destination",
        "form",
        "headers",
        "keys",
        "post",
        "refusal",
        "start",
        "subscription_id",
        "terms",
        "timeout_s",
    )

    def __init__(
        self,
        subscription: Subscription,
        keys: tuple[SigningKey, ...],
        form: Format | None,
        defaults: Inheritable = NOTHING_SET,
    ) -> None:
        """Prepare what all deliveries of a subscription share; `defaults` are its project's."""
        self.terms = terms_of(subscription, defaults)
        self.keys = keys
        self.form = form
        self.subscription_id = subscription.id
        self.headers = subscription.headers
        self.timeout_s = self.terms.timeout_s
        self.refusal: str | None = None if form else f"unknown format {subscription.format!r}"
        self.destination: Destination | None = None
        self.post: Post | None = None
        self.start = b""
        try:
            self.destination = urls.parse(subscription.url)
        except InvalidInput as error:
            self.refusal = error.message
        else:
            self.start = _start(self.destination, subscription.headers)


def _start(destination: Destination, headers: Mapping[str, str]) -> bytes:
    own = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in headers.items())
    return b"POST %b HTTP/1.1\r\nhost: %b\r\nuser-agent: %b\r\naccept: */*\r\n%b" % (
        destination.target,
        destination.authority,
        USER_AGENT,
        own,
    )


def _start_with(address: Address, headers: Mapping[str, str]) -> bytes:
    """Return the start of the head with headers of one event's own."""
    assert address.destination is not None  # noqa: S101 - else nothing is sent
    given = {name.lower() for name in headers}
    kept = {name: value for name, value in address.headers.items() if name.lower() not in given}
    return _start(address.destination, {**kept, **headers})


class Sender:
    """Renders, signs and sends."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: Poster,
        formats: Mapping[str, Format],
        origin: str | None = None,
        authenticate: Authenticate | None = None,
    ) -> None:
        """Take the transport, the formats by name, of every surface, and this server's name.

        `authenticate` is asked for the posts of subscriptions that prove who sends to them.
        """
        self._authenticate = authenticate
        self._loop = loop
        self._transport = transport
        self._formats = formats
        self._origin = origin

    def address(
        self,
        subscription: Subscription,
        keys: tuple[SigningKey, ...],
        defaults: Inheritable = NOTHING_SET,
    ) -> Address:
        """Prepare a subscription's address. One that can't be sent to fails its tries."""
        asked = subscription.verification
        if asked is not None and asked.mode is VerificationMode.CLOUDEVENTS and self._origin:
            named = {**subscription.headers, ORIGIN: self._origin}
            subscription = replace(subscription, headers=named)
        form = format_of(self._formats, subscription.format, subscription.format_settings)
        address = Address(subscription, keys, form, defaults)
        if address.destination is not None:
            post = self._transport.to(
                subscription.project_id,
                address.destination,
                insecure_tls=subscription.insecure_tls,
            )
            address.post = post
            if subscription.authentication is not None and self._authenticate is not None:
                address.post = self._authenticate(subscription, post)
        return address

    def send(
        self,
        address: Address,
        work: Work,
        event: Event,
        now_us: int,
        done: Done,
        headers: Headers = None,
    ) -> None:
        """Start one try; `work.call` is the request on its way.

        Args:
            address: where to.
            work: the delivery.
            event: its event.
            now_us: the present, UTC microseconds: the timestamp that is signed.
            done: called once with what came back, later.
            headers: to be sent beside the subscription's own, and in place of those of their names.

        Raises:
            Exception: the format failed; nothing was sent, `done` is not called.
        """
        form, post = address.form, address.post
        if form is None or post is None:
            failure = TransportFailure(FailureKind.DENIED, address.refusal or "", Timings())
            self._loop.call_soon(done, failure)
            return
        rendered = form.render(
            Outgoing(
                event,
                ids.spell(ids.EVENT, event.id),
                work.id,
                work.attempt_id,
                work.attempts + 1,
                now_us // 1_000_000,
                address.keys,
                address.subscription_id,
                work.kind == _REPLAY,
            )
        )
        start = _start_with(address, headers) if headers else address.start
        if work.replay_id is not None:
            start += b"webhook-replay-id: %b\r\n" % ids.spell(ids.REPLAY, work.replay_id).encode()
        head = b"%b%bcontent-length: %d\r\n\r\n" % (start, rendered.head, len(rendered.body))
        work.call = post(head, rendered.body, address.timeout_s, done)
