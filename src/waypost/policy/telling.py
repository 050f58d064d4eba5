"""Telling: what became of a delivery and of its attempts, in plain words."""

from collections.abc import Sequence
from typing import Final

from waypost.model.delivery import Delivery, DeliveryState, Reason
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.policy.judging import Failed
from waypost.policy.waits import Wait

_SAID_MAX: Final = 200

_PHRASES: Final = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    301: "Moved Permanently",
    302: "Found",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
"""What statuses that receivers answer with are called: RFC 9110, section 15; RFC 6585."""

_REASONS: Final = {
    Reason.EXHAUSTED: "its retries were used up",
    Reason.GONE: "the receiver answered 410: it wants nothing more",
    Reason.SUBSCRIPTION_FAILING: "the event subscription was disabled after days of failures",
    Reason.SUBSCRIPTION_DISABLED: "the event subscription was disabled",
    Reason.SUBSCRIPTION_DELETED: "the event subscription was deleted",
    Reason.SUBSCRIPTION_SUSPENDED: "its failures had suspended the event subscription",
    Reason.NOT_A_TRIGGER: "it failed in a way that its failure handling does not try again",
    Reason.EXPIRED: "its time to be delivered was over, or retention took its event",
    Reason.SKIPPED: "its transform said that nothing was to be sent",
    Reason.INTERNAL: "an error of the server's own kept it from being sent; see its log",
}


def tell_attempt(attempt: ShownAttempt) -> str:
    """Return in a sentence what an attempt that ended came to."""
    code = attempt.status_code
    if not code:
        text = attempt.response.decode(errors="replace").strip()
        return f"it failed before an answer: {_cut(text)}" if text else "there was no answer"
    name = f"{code} {_PHRASES[code]}" if code in _PHRASES else str(code)
    took = "" if attempt.timings is None else f", after {_span(attempt.timings.total_us)}"
    if attempt.status is AttemptStatus.SUCCESS:
        return f"the receiver took it: {name}{took}"
    if 300 <= code <= 399:
        return f"the receiver redirected it: {name}; redirects are not followed"
    return f"the receiver refused it: {name}{took}"


def tell_delivery(delivery: Delivery, waits: Sequence[Wait] = ()) -> str:
    """Return in a sentence how a delivery stands."""
    tried = _times(delivery.attempts)
    if delivery.state is DeliveryState.PENDING:
        waiting = "; ".join(wait.reason for wait in waits)
        return f"pending, {tried}: {waiting}" if waiting else f"pending, {tried}"
    if delivery.state is DeliveryState.DELIVERED:
        return f"delivered at attempt {delivery.attempts}"
    reason = "" if delivery.reason is None else f": {_REASONS[delivery.reason]}"
    if delivery.state is DeliveryState.CANCELLED:
        return f"cancelled, {tried}{reason}"
    box = "; it is in the dead-letter box" if delivery.diverted else ""
    return f"given up, {tried}{reason}{box}"


def tell_none(failed: Failed | None, *, spreading: bool, judged_by_then: bool) -> str:
    """Return in a sentence why an event has no delivery to a subscription.

    Args:
        failed: why it was not owed; None where it matched.
        spreading: it matched, and its delivery is about to be made.
        judged_by_then: the settings of that time were there to judge by.
    """
    if failed is not None:
        return f"not owed: {failed.reason}"
    if spreading:
        return "matched; its delivery is about to be made"
    if not judged_by_then:
        return "it would match by its present settings; those of that time are not kept any more"
    return "matched, but its delivery is not kept any more"


def _times(count: int) -> str:
    return {0: "not tried", 1: "tried once"}.get(count, f"tried {count} times")


def _span(us: int) -> str:
    if us < 1_000_000:
        return f"{us / 1_000:.0f} ms"
    return f"{us / 1_000_000:.1f} s"


def _cut(text: str) -> str:
    return text if len(text) <= _SAID_MAX else f"{text[:_SAID_MAX]}…"
