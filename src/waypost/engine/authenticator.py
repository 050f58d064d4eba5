"""The authenticator: what a receiver wants to see beside a signature, put into the head of a try.

A fixed header is there at once. A token is fetched by the first try that needs it, through the same
guard as any request, while those behind wait for it; it is used until shortly before its end, or
until the receiver answers 401. A try without a token has failed: it says why, and is retried.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from waypost import __version__
from waypost.clock import Clock, IdSource
from waypost.engine.sender import Call, Done, Post, Poster
from waypost.model import ids
from waypost.model.authentication import OAuth2
from waypost.model.delivery import Timings
from waypost.model.errors import ConfigInvalid, InvalidInput
from waypost.model.exchange import Exchange, FailureKind, Reply, TransportFailure
from waypost.model.ids import Id
from waypost.model.subscription import Subscription
from waypost.policy import authentication, urls
from waypost.policy.authentication import Token
from waypost.storage import authentications
from waypost.storage.vault import Vault

FETCH_S: Final = 10.0
"""How long an answer with a token may take; less where a try itself may take less."""
TOKENS_MAX: Final = 10_000

_UNAUTHORIZED: Final = 401
_AGENT: Final = f"Waypost/{__version__}".encode()

Key = tuple[Id, Id, bytes]
"""Project, subscription, and what it is authenticated by, encrypted: a change asks anew."""


class _Held(msgspec.Struct):
    """A token, and until when it is used, monotonic seconds."""

    value: bytes
    until: float


class Tokens:
    """The tokens of all subscriptions. For the loop's thread alone."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: Poster,
        clock: Clock,
        source: IdSource,
    ) -> None:
        """Take what fetches them; `source` makes the ids of assertions."""
        self._loop = loop
        self._transport = transport
        self._clock = clock
        self._ids = source
        self._held: OrderedDict[Key, _Held] = OrderedDict()
        self._waiting: dict[Key, list[Callable[[bytes | str], None]]] = {}

    def find(self, key: Key) -> bytes | None:
        """Return the token that is good now."""
        held = self._held.get(key)
        if held is None or held.until <= self._clock.monotonic():
            return None
        return held.value

    def drop(self, key: Key, value: bytes) -> None:
        """Forget a token that a receiver does not take, unless it was renewed meanwhile."""
        held = self._held.get(key)
        if held is not None and held.value == value:
            del self._held[key]

    def fetch(
        self, key: Key, given: OAuth2, timeout_s: float, then: Callable[[bytes | str], None]
    ) -> None:
        """Ask for a token, once for all who wait; `then` hears the token, or why there is none."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(then)
            return
        self._waiting[key] = [then]
        self.ask(key[0], given, timeout_s, lambda found: self._fetched(key, found))

    def ask(
        self, project_id: Id, given: OAuth2, timeout_s: float, then: Callable[[Token | str], None]
    ) -> None:
        """Ask for a token, and keep nothing."""

        def done(exchange: Exchange) -> None:
            then(authentication.read_token(given, exchange))

        try:
            destination = urls.parse(given.url)
        except InvalidInput as error:
            failure = TransportFailure(FailureKind.DENIED, error.message, Timings())
            self._loop.call_soon(done, failure)
            return
        now_s = self._clock.now_us() // 1_000_000
        unique = ids.spell_uuid(self._ids.next())
        head, body = authentication.token_request(given, destination, now_s, unique)
        head = authentication.with_header(head, "user-agent", _AGENT)
        self._transport.to(project_id, destination)(head, body, min(timeout_s, FETCH_S), done)

    def _fetched(self, key: Key, found: Token | str) -> None:
        if isinstance(found, Token):
            self._held[key] = _Held(found.value, self._clock.monotonic() + found.for_s)
            self._held.move_to_end(key)
            if len(self._held) > TOKENS_MAX:
                self._held.popitem(last=False)
        for then in self._waiting.pop(key):
            then(found.value if isinstance(found, Token) else found)


class _Waiting:
    """A try that waits for its token, and then is on its way."""

    __slots__ = ("_call", "_done", "_loop", "_over")

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Done) -> None:
        self._loop = loop
        self._done = done
        self._call: Call | None = None
        self._over = False

    @property
    def over(self) -> bool:
        """Whether it was broken off."""
        return self._over

    def go(self, call: Call) -> None:
        """Take the request that it has become."""
        self._call = call

    def fail(self, why: TransportFailure) -> None:
        """Have it end without having been sent, later."""
        self._over = True
        self._loop.call_soon(self._done, why)

    def abort(self) -> None:
        """Break it off."""
        if self._call is not None:
            self._call.abort()
        elif not self._over:
            self.fail(TransportFailure(FailureKind.ABORTED, "broken off", Timings()))


class Authenticator:
    """Puts what proves who sends into requests."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: Poster,
        clock: Clock,
        source: IdSource,
        vault: Vault,
    ) -> None:
        """Take what fetches tokens, and what opens the secrets of subscriptions."""
        self._loop = loop
        self._clock = clock
        self._vault = vault
        self._tokens = Tokens(loop, transport, clock, source)

    def around(self, subscription: Subscription, post: Post) -> Post:
        """Return what sends by `post`, with what a subscription is to be authenticated by."""
        try:
            given = authentications.opened(self._vault, subscription)
        except ConfigInvalid as error:
            return self._refusing(error.message)
        sealed = subscription.authentication
        if given is None or sealed is None:
            return post
        if isinstance(given, OAuth2):
            key = (subscription.project_id, subscription.id, sealed.envelope)
            return self._with_token(post, given, key)
        name, value = authentication.header_name(given), authentication.fixed_value(given)

        def send(head: bytes, body: bytes, timeout_s: float, done: Done) -> Call:
            return post(authentication.with_header(head, name, value), body, timeout_s, done)

        return send

    async def probe(self, project_id: Id, given: OAuth2) -> Token | str:
        """Ask for a token as a try would; return it, or why there is none."""
        answer: asyncio.Future[Token | str] = self._loop.create_future()

        def then(found: Token | str) -> None:
            if not answer.done():
                answer.set_result(found)

        self._tokens.ask(project_id, given, FETCH_S, then)
        return await answer

    def _refusing(self, why: str) -> Post:
        def send(_head: bytes, _body: bytes, _timeout_s: float, done: Done) -> Call:
            waiting = _Waiting(self._loop, done)
            waiting.fail(TransportFailure(FailureKind.AUTHENTICATION, why, Timings()))
            return waiting

        return send

    def _with_token(self, post: Post, given: OAuth2, key: Key) -> Post:
        def send(head: bytes, body: bytes, timeout_s: float, done: Done) -> Call:
            token = self._tokens.find(key)
            if token is not None:
                return carry(token, head, body, timeout_s, done)
            waiting, since = _Waiting(self._loop, done), self._clock.monotonic()

            def then(found: bytes | str) -> None:
                if waiting.over:
                    return
                left_s = timeout_s - (self._clock.monotonic() - since)
                if isinstance(found, str):
                    done(TransportFailure(FailureKind.AUTHENTICATION, found, Timings()))
                elif left_s <= 0:
                    late = "no time was left behind the token's answer"
                    done(TransportFailure(FailureKind.TIMEOUT, late, Timings()))
                else:
                    waiting.go(carry(found, head, body, left_s, done))

            self._tokens.fetch(key, given, timeout_s, then)
            return waiting

        def carry(token: bytes, head: bytes, body: bytes, timeout_s: float, done: Done) -> Call:
            def answered(exchange: Exchange) -> None:
                if isinstance(exchange, Reply) and exchange.status == _UNAUTHORIZED:
                    self._tokens.drop(key, token)
                done(exchange)

            head = authentication.with_header(head, authentication.AUTHORIZATION, token)
            return post(head, body, timeout_s, answered)

        return send
