"""Verification of URLs: when one is wanted, what is asked, and what an answer means.

There are two ways. A challenge is a signed POST whose answer must repeat a secret; the handshake of
CloudEvents is an OPTIONS request whose answer must name who may send, and may say how fast.

Source: CloudEvents, HTTP 1.1 Web Hooks for Event Delivery 1.0.1, section 4 (abuse protection).
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from waypost.model.exchange import Consent, Exchange, TransportFailure
from waypost.model.flow import RateLimit
from waypost.model.subscription import SigningKey, Subscription
from waypost.model.verification import Verification, VerificationMode, VerificationState
from waypost.policy.signing import sign

TIMEOUT_S: Final = 10.0
"""How long an answer may take; less where the subscription's own deadline is shorter."""

ORIGIN: Final = "WebHook-Request-Origin"
"""The header by which a sender names itself, in the handshake and in every delivery after it."""

ANY: Final = "*"
_RATE: Final = re.compile(r"[0-9]{1,9}")


def renewed(present: Subscription, url: str, mode: VerificationMode) -> Verification | None:
    """Return a subscription's verification, begun anew where its URL or the way of it is new.

    Args:
        present: the subscription as it was.
        url: what its URL is to be.
        mode: how it is to be verified.
    """
    known = present.verification
    if mode is VerificationMode.NONE:
        return None
    if known is None:
        return Verification(mode)
    if known.mode is not mode or url != present.url:
        return replace(again(known), mode=mode)
    return known


def again(known: Verification) -> Verification:
    """Return a verification that starts anew."""
    return Verification(known.mode, known.number + 1)


def allowed(limit: RateLimit | None, known: Verification | None) -> RateLimit | None:
    """Return the rate that keeps both to a limit and to what the receiver allows, evenly spaced."""
    if known is None or known.per_minute is None:
        return limit
    if limit is not None and limit.count * 60 < known.per_minute * limit.per_s:
        return replace(limit, burst=1)
    return RateLimit(known.per_minute, 60, 1)


def challenge(secret: str, keys: Sequence[SigningKey], now_s: int) -> tuple[bytes, bytes]:
    """Return the rest of the head of a challenge, and its body.

    Args:
        secret: what is to be repeated, visible ASCII without quotes and full stops.
        keys: the subscription's: it is signed as every delivery is.
        now_s: the present, UTC seconds since 1970.

    Raises:
        ValueError: no key is left to sign with.
    """
    body = b'{"type":"waypost.challenge","challenge":"%b"}' % secret.encode()
    name = b"challenge_" + secret.encode()
    head = (
        b"content-type: application/json\r\nwebhook-id: %b\r\nwebhook-timestamp: %d\r\n"
        b"webhook-signature: %b\r\ncontent-length: %d\r\n\r\n"
    )
    return head % (name, now_s, sign(keys, name, now_s, body), len(body)), body


def judge(
    asked: Verification, exchange: Exchange, secret: str, origin: str | None, now_us: int
) -> Verification:
    """Return what an exchange makes of a verification.

    Args:
        asked: the verification.
        exchange: what came back.
        secret: what a challenge was to repeat.
        origin: the name that was given in a handshake.
        now_us: the present, UTC microseconds.
    """
    reason, per_minute = _judged(asked.mode, exchange, secret, origin)
    state = VerificationState.VERIFIED if reason is None else VerificationState.FAILED
    return replace(asked, state=state, reason=reason, at_us=now_us, per_minute=per_minute)


def _judged(
    mode: VerificationMode, exchange: Exchange, secret: str, origin: str | None
) -> tuple[str | None, int | None]:
    """Return why it failed, and how many requests a minute are allowed."""
    if isinstance(exchange, TransportFailure):
        return exchange.text, None
    if not 200 <= exchange.status < 300:
        return f"it answered with status {exchange.status}", None
    if mode is VerificationMode.CLOUDEVENTS:
        return _consented(exchange.consent, origin)
    return (None if _repeats(exchange.body, secret) else "its answer is not the challenge"), None


def _repeats(body: bytes, secret: str) -> bool:
    """Return whether an answer is the secret: as it is, or as `challenge` of a JSON object."""
    if body.strip() == secret.encode():
        return True
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(answer, dict) and answer.get("challenge") == secret


def _consented(consent: Consent | None, origin: str | None) -> tuple[str | None, int | None]:
    # A status alone is never consent: many servers answer OPTIONS to anybody.
    if consent is None or consent.origin is None:
        return "its answer has no WebHook-Allowed-Origin", None
    if consent.origin != ANY and consent.origin.lower() != (origin or "").lower():
        return "its WebHook-Allowed-Origin is another name", None
    if consent.rate is None or consent.rate == ANY:
        return None, None
    if not _RATE.fullmatch(consent.rate) or not int(consent.rate):
        return "its WebHook-Allowed-Rate is neither a number above 0 nor *", None
    return None, int(consent.rate)
