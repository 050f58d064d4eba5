"""The sample receiver believes only what is signed."""

import asyncio
import base64
import http.client
from urllib.parse import urlsplit

import pytest

from waypost.cli.receiver import Received, SampleReceiver
from waypost.clock import SystemClock
from waypost.model.subscription import Signing, SigningKey
from waypost.policy import signing

KEY = SigningKey(bytes(16), Signing.HMAC, bytes(range(32)))
BODY = b'{"type": "card.created"}'


def post(url: str, headers: dict[str, str], body: bytes = BODY) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("POST", "/", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def signed(at_s: int) -> dict[str, str]:
    secret = base64.b64encode(KEY.material).decode()
    assert signing.spell_secret(KEY) == f"whsec_{secret}"
    signature = signing.sign((KEY,), b"evt_1", at_s, BODY)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": signature.decode(),
    }


async def exchange(headers: dict[str, str], body: bytes = BODY) -> tuple[int, list[Received]]:
    received: list[Received] = []
    receiver = SampleReceiver(SystemClock(), received.append)
    receiver.secret = signing.spell_secret(KEY)
    await receiver.start()
    status = await asyncio.to_thread(post, receiver.url, headers, body)
    await receiver.stop()
    return status, received


async def test_a_good_signature_is_taken() -> None:
    status, (received,) = await exchange(signed(SystemClock().now_us() // 1_000_000))
    assert status == 204
    assert received.webhook_id == "evt_1"
    assert received.body == BODY
    assert received.wrong is None


@pytest.mark.parametrize("change", ["body", "id", "signature", "missing", "old"])
async def test_anything_else_is_refused(change: str) -> None:
    headers, body = signed(SystemClock().now_us() // 1_000_000), BODY
    if change == "body":
        body = BODY + b" "
    elif change == "id":
        headers["webhook-id"] = "evt_2"
    elif change == "signature":
        headers["webhook-signature"] = "v1,AAAA"
    elif change == "missing":
        headers = {}
    else:
        headers = signed(1_000_000_000)
    status, (received,) = await exchange(headers, body)
    assert status == 401
    assert received.wrong is not None
