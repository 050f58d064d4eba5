"""Exchanges: what came back from one HTTP request that Waypost sent."""

from enum import StrEnum

import msgspec

from waypost.model.delivery import Timings


class FailureKind(StrEnum):
    """Where a request that got no usable answer broke off."""

    DENIED = "denied"
    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    PROTOCOL = "protocol"
    TOO_LARGE = "too_large"
    AUTHENTICATION = "authentication"
    ABORTED = "aborted"


class Consent(msgspec.Struct, frozen=True):
    """What an answer allows; empty where several headers of one name disagree.

    Attributes:
        origin: its `WebHook-Allowed-Origin`: who may send.
        rate: its `WebHook-Allowed-Rate`: how much, as it was spelled.
    """

    origin: str | None = None
    rate: str | None = None


class Reply(msgspec.Struct, frozen=True):
    """A complete answer.

    Attributes:
        status: 200 to 599 (1xx are passed over).
        body: the first bytes of the body, at most the transport's cap.
        retry_after: the value of the one `Retry-After` header; None where there is none or where
            several disagree.
        resent: the request was written twice (a reused connection died before any answer).
        consent: what it allows; None where it says nothing of that.
    """

    status: int
    body: bytes
    timings: Timings
    retry_after: str | None = None
    resent: bool = False
    consent: Consent | None = None


class TransportFailure(msgspec.Struct, frozen=True):
    """No usable answer.

    Attributes:
        text: one sentence for people, without addresses of the inner network.
        resent: as for Reply.
    """

    kind: FailureKind
    text: str
    timings: Timings
    resent: bool = False


Exchange = Reply | TransportFailure
