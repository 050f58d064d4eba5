"""Each try proves who sends it; one that can't has failed, and says why."""

import asyncio
from typing import Any

from msgspec.structs import replace

from tests.support.engine import KEY, Post, Receivers
from tests.support.manual import ManualClock, SeededEntropy
from tests.support.waiting import turned
from waypost.clock import IdSource
from waypost.engine.authenticator import Authenticator
from waypost.engine.sender import Call, Sender
from waypost.model import ids
from waypost.model.authentication import Authentication, Basic, HeaderKey, OAuth2
from waypost.model.exchange import Exchange, FailureKind, Reply, TransportFailure
from waypost.model.subscription import Subscription
from waypost.policy.format import NATIVE_FORMATS
from waypost.storage import authentications
from waypost.storage.vault import Vault

BARE = Subscription(b"p" * 16, b"s" * 16, "https://user.example/hook")
OAUTH = OAuth2(url="https://id.example/t", client_id="c", client_secret="s")


class Tried:
    """A try, and how it ended."""

    def __init__(self, at: "Site", timeout_s: float) -> None:
        self.ended: list[Exchange] = []
        post = at.address.post
        assert post is not None
        self.call: Call = post(at.address.start + b"\r\n", b"{}", timeout_s, self.ended.append)

    @property
    def failure(self) -> TransportFailure:
        (found,) = self.ended
        assert isinstance(found, TransportFailure)
        return found


class Site:
    """A subscription that authenticates, and the other side of the transport."""

    def __init__(self, given: Authentication, **settings: Any) -> None:
        self.clock = ManualClock()
        self.network = Receivers()
        self.vault = Vault(bytes(range(32)), SeededEntropy())
        loop = asyncio.get_running_loop()
        source = IdSource(self.clock, SeededEntropy())
        authenticator = Authenticator(loop, self.network, self.clock, source, self.vault)
        self.sender = Sender(loop, self.network, NATIVE_FORMATS, None, authenticator.around)
        sealed = authentications.seal(self.vault, BARE.project_id, BARE.id, given)
        self.subscription = replace(BARE, authentication=sealed, **settings)
        self.address = self.sender.address(self.subscription, (KEY,))

    def go(self, timeout_s: float = 20.0) -> Tried:
        return Tried(self, timeout_s)

    @property
    def last(self) -> Post:
        return self.network.posts[-1]

    def hosts(self) -> list[str]:
        return [post.host for post in self.network.posts]

    def grant(self, token: str = "t", **fields: object) -> None:
        body = ",".join(f'"{name}":{value}' for name, value in fields.items())
        more = f",{body}" if body else ""
        self.last.answer(body=f'{{"access_token":"{token}"{more}}}'.encode())


async def test_fixed_headers_are_sent_in_place_of_those_of_their_name() -> None:
    at = Site(HeaderKey("X-Key", "k"), headers={"x-key": "old", "x-own": "o"})
    at.go()
    assert b"\r\nX-Key: k\r\n\r\n" in at.last.head
    assert b"old" not in at.last.head
    assert b"x-own: o" in at.last.head
    at = Site(Basic("Aladdin", "open sesame"))
    at.go()
    assert b"\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n" in at.last.head


async def test_a_token_is_fetched_once_and_used_until_it_ends() -> None:
    at = Site(OAUTH)
    tries = [at.go() for _ in range(3)]
    assert at.hosts() == ["id.example"]
    assert (at.last.project_id, at.last.timeout_s) == (BARE.project_id, 10.0)
    assert b"client_secret=s" in at.last.body
    assert b"\r\nuser-agent: Waypost/" in at.last.head
    at.grant("t1", expires_in=100)
    assert at.hosts() == ["id.example", *["user.example"] * 3]
    for post in at.network.open:
        assert b"\r\nAuthorization: Bearer t1\r\n\r\n" in post.head
        assert post.body == b"{}"
        post.answer()
    assert all(isinstance(one.ended[0], Reply) for one in tries)
    at.clock.forward(89)
    at.go()
    assert at.last.host == "user.example"
    # It is renewed shortly before its end.
    at.clock.forward(2)
    at.go()
    assert at.last.host == "id.example"
    at.grant("t2")
    assert b"Bearer t2" in at.last.head


async def test_a_token_that_is_not_taken_is_fetched_anew() -> None:
    at = Site(OAUTH)
    tried = at.go()
    at.grant("t1")
    at.last.answer(401)
    (ended,) = tried.ended
    assert isinstance(ended, Reply)
    assert ended.status == 401
    at.go()
    assert at.last.host == "id.example"
    at.grant("t2")
    at.last.answer(403)
    at.go()
    assert b"Bearer t2" in at.last.head


async def test_a_refused_token_does_not_forget_the_one_that_came_after_it() -> None:
    at = Site(OAUTH)
    at.go(), at.go()
    at.grant("t1")
    first, second = at.network.open
    first.answer(401)
    at.go()
    at.grant("t2")
    second.answer(401)
    at.go()
    assert b"Bearer t2" in at.last.head


async def test_without_a_token_a_try_has_failed_and_says_why() -> None:
    at = Site(OAUTH)
    tried, other = at.go(), at.go()
    at.last.answer(401, body=b'{"error":"invalid_client"}')
    assert tried.failure == other.failure
    assert tried.failure.kind is FailureKind.AUTHENTICATION
    assert tried.failure.text == (
        "no token: its endpoint answered with status 401 (invalid_client)"
    )
    again = at.go()
    assert at.hosts() == ["id.example", "id.example"]
    at.last.fail(FailureKind.DENIED)
    assert again.failure.text == "no token: denied"


async def test_a_try_that_is_broken_off_sends_nothing() -> None:
    at = Site(OAUTH)
    tried, other = at.go(), at.go()
    tried.call.abort()
    tried.call.abort()
    await turned()
    assert tried.failure.kind is FailureKind.ABORTED
    at.grant()
    assert at.hosts() == ["id.example", "user.example"]
    other.call.abort()
    await turned()
    assert other.failure.kind is FailureKind.ABORTED


async def test_the_time_for_a_token_is_of_the_try() -> None:
    at = Site(OAUTH)
    tried = at.go(5.0)
    assert at.last.timeout_s == 5.0
    at.clock.forward(2)
    at.grant()
    assert at.last.timeout_s == 3.0
    late = Site(OAUTH)
    tried = late.go(5.0)
    late.clock.forward(6)
    late.grant()
    assert tried.failure.kind is FailureKind.TIMEOUT
    assert late.hosts() == ["id.example"]


async def test_another_setting_asks_for_another_token() -> None:
    at = Site(OAUTH)
    at.go()
    at.grant("t1")
    # The same subscription with other settings goes on with its token.
    at.address = at.sender.address(replace(at.subscription, paused=True), (KEY,))
    at.go()
    assert b"Bearer t1" in at.last.head
    sealed = authentications.seal(at.vault, BARE.project_id, BARE.id, OAUTH)
    at.address = at.sender.address(replace(BARE, authentication=sealed), (KEY,))
    at.go()
    assert at.last.host == "id.example"


async def test_what_can_not_be_decrypted_sends_nothing() -> None:
    at = Site(OAUTH)
    moved = replace(at.subscription, id=ids.make(3, 3))
    at.address = at.sender.address(moved, (KEY,))
    tried = at.go()
    await turned()
    assert tried.failure.kind is FailureKind.AUTHENTICATION
    assert "damaged" in tried.failure.text
    assert at.network.posts == []
