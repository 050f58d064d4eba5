"""The sender: one try, as the bytes that go out."""

import asyncio

import pytest
from msgspec.structs import replace

from tests.support.engine import KEY, Broken, Receivers
from waypost import __version__
from waypost.engine.sender import Sender
from waypost.model import ids
from waypost.model.delivery import DeliveryClass
from waypost.model.event import Event
from waypost.model.exchange import Exchange, FailureKind, TransportFailure
from waypost.model.subscription import Subscription
from waypost.model.verification import Verification, VerificationMode
from waypost.policy.format import NATIVE_FORMATS, Outgoing, Rendered
from waypost.policy.signing import sign
from waypost.policy.work import Work

ONE = Subscription(b"p" * 16, b"s" * 16, "https://user.example:8443/hook?a=1")
EVENT = Event(ONE.project_id, ids.make(1, 1), "card.created", b'{"a":1.10}')
NOW_US = 1_800_000_000_900_000


class Post:
    """A sender and the other side of its transport."""

    def __init__(self) -> None:
        self.network = Receivers()
        formats = {**NATIVE_FORMATS, "broken": Broken()}
        self.sender = Sender(asyncio.get_running_loop(), self.network, formats)
        self.work = Work(ids.make(2, 2), EVENT.id, 0, 5, 0)
        self.ended: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()

    def send(self, subscription: Subscription = ONE) -> None:
        address = self.sender.address(subscription, (KEY,))
        self.sender.send(address, self.work, EVENT, NOW_US, self.ended.set_result)


async def test_the_very_bytes_are_sent_signed_with_the_moment_of_the_try() -> None:
    post = Post()
    post.send()
    (sent,) = post.network.posts
    lines = sent.head.decode("latin-1").split("\r\n")
    assert lines[0] == "POST /hook?a=1 HTTP/1.1"
    assert lines[-2:] == ["", ""]
    headers = dict(line.split(": ", 1) for line in lines[1:-2])
    token = ids.spell(ids.EVENT, EVENT.id)
    signature = sign((KEY,), token.encode(), 1_800_000_000, EVENT.payload)
    assert headers == {
        "host": "user.example:8443",
        "user-agent": f"Waypost/{__version__}",
        "accept": "*/*",
        "content-type": "application/json",
        "webhook-id": token,
        "webhook-timestamp": "1800000000",
        "webhook-signature": signature.decode(),
        "content-length": str(len(EVENT.payload)),
    }
    assert sent.body == EVENT.payload
    assert post.work.call is sent
    sent.answer()
    assert (await post.ended).timings is not None


async def test_a_subscription_s_own_headers_are_sent() -> None:
    post = Post()
    post.send(replace(ONE, headers={"x-own": "caf\xe9"}))
    assert b"\r\nx-own: caf\xe9\r\n" in post.network.posts[0].head


@pytest.mark.parametrize(
    "settings, text",
    [({"format": "morse"}, "unknown format 'morse'"), ({"url": "nonsense"}, None)],
)
async def test_what_cannot_be_sent_is_denied_later(
    settings: dict[str, str], text: str | None
) -> None:
    post = Post()
    post.send(replace(ONE, **settings))
    assert not post.ended.done()
    failure = await post.ended
    assert isinstance(failure, TransportFailure)
    assert failure.kind is FailureKind.DENIED
    assert failure.text
    assert text is None or failure.text == text
    assert post.network.posts == []


async def test_a_format_that_fails_sends_nothing() -> None:
    post = Post()
    with pytest.raises(ZeroDivisionError):
        post.send(replace(ONE, format="broken"))
    assert post.network.posts == []
    assert not post.ended.done()


@pytest.mark.parametrize("name", sorted(NATIVE_FORMATS))
async def test_a_replayed_delivery_names_the_replay(name: str) -> None:
    post = Post()
    post.work.replay_id = ids.make(7, 7)
    post.send(replace(ONE, format=name))
    (sent,) = post.network.posts
    line = f"\r\nwebhook-replay-id: {ids.spell(ids.REPLAY, ids.make(7, 7))}\r\n"
    assert sent.head.count(line.encode()) == 1
    assert sent.head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("kind", DeliveryClass)
async def test_a_format_is_told_to_whom_and_whether_somebody_asked_for_it(
    kind: DeliveryClass,
) -> None:
    post, told = Post(), []

    class Told:
        name = "told"
        signature_header = "none"

        def render(self, outgoing: Outgoing) -> Rendered:
            told.append(outgoing)
            return Rendered(b"", b"")

    post.work.kind = kind
    post.sender._formats = {"told": Told()}
    post.send(replace(ONE, format="told"))
    (outgoing,) = told
    assert outgoing.subscription_id == ONE.id
    assert outgoing.manual is (kind is DeliveryClass.REPLAY)


async def test_headers_of_the_event_take_the_place_of_the_subscription_s() -> None:
    post = Post()
    one = replace(ONE, headers={"X-Own": "a", "x-kept": "b"})
    address = post.sender.address(one, (KEY,))
    headers = {"x-own": "c", "x-new": "d"}
    post.sender.send(address, post.work, EVENT, NOW_US, post.ended.set_result, headers)
    post.sender.send(address, post.work, EVENT, NOW_US, print, {})
    with_them, without = (
        [line for line in sent.head.decode().splitlines() if line.lower().startswith("x-")]
        for sent in post.network.posts
    )
    assert with_them == ["x-kept: b", "x-own: c", "x-new: d"]
    assert without == ["X-Own: a", "x-kept: b"]


@pytest.mark.parametrize("mode, named", [("cloudevents", True), ("challenge", False)])
async def test_whoever_was_asked_by_name_is_told_it_with_every_delivery(
    mode: str, named: bool
) -> None:
    post = Post()
    sender = Sender(asyncio.get_running_loop(), post.network, NATIVE_FORMATS, "us.example")
    asked = replace(ONE, verification=Verification(VerificationMode(mode)))
    sender.send(sender.address(asked, (KEY,)), post.work, EVENT, NOW_US, post.ended.set_result)
    (sent,) = post.network.posts
    assert (b"\r\nWebHook-Request-Origin: us.example\r\n" in sent.head) is named


@pytest.mark.parametrize("insecure", [True, False])
async def test_any_certificate_will_do_for_those_alone_who_asked_for_it(insecure: bool) -> None:
    post = Post()
    post.send(replace(ONE, insecure_tls=insecure))
    assert bool(post.network.insecure) is insecure
