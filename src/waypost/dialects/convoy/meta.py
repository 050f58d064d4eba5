"""Meta events: what happens in a project, told to a webhook of the project's configuration.

The webhook is a hidden subscription. What is told of endpoints and of the project is written with
the change itself; what is told of deliveries the engine writes, before it settles them.
"""

import hashlib
import hmac
import uuid
from collections.abc import Callable
from typing import Any, Final

import msgspec

from waypost.dialects.convoy.config import (
    RETRY_MAX_S,
    SIGNATURE_HEADER,
    MetaKind,
    ProjectConfig,
    StrategyConfig,
)
from waypost.dialects.convoy.envelope import born, status_line
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.subscription import End, SigningKey, Subscription
from waypost.operations.alerts import SILENT
from waypost.operations.notices import Hidden, Told
from waypost.policy.format import Outgoing, Rendered

NAME: Final = "convoy.meta"
TIMEOUT_S: Final = 10.0

_HOOK: Final = 0
REPORTS: Final = {
    MetaKind.DELIVERY_SUCCESS: End.DELIVERED,
    MetaKind.DELIVERY_FAILED: End.FAILED,
    MetaKind.DELIVERY_UPDATED: End.RETRIED,
}
"""Which end of a try each meta event of deliveries tells of."""

_STATUSES: Final = {
    End.DELIVERED.value: "Success",
    End.FAILED.value: "Failure",
    End.RETRIED.value: "Retry",
}
_SIGNED: Final = "signed"
_PLAIN: Final = "plain"

_encode: Final = msgspec.json.encode


def hook_id(project_id: Id) -> Id:
    """Return the hidden subscription that a project's meta events go to."""
    return ids.apart(project_id, _HOOK)


def hook(home: ProjectConfig, project_id: Id, make_key: Callable[[], SigningKey]) -> Hidden:
    """Return the webhook as a configuration wants it: there, or disabled."""
    wanted = home.meta_event
    if not wanted.is_enabled:
        return Hidden(off=(hook_id(project_id),))
    key = make_key()
    if wanted.secret:
        key = msgspec.structs.replace(key, material=wanted.secret.encode())
    to = Subscription(
        ids.alerts_of(project_id),
        hook_id(project_id),
        wanted.url,
        format=NAME,
        format_settings=_SIGNED if wanted.secret else _PLAIN,
        timeout_s=TIMEOUT_S,
        retry_schedule_s=gaps(home.strategy),
        failure_handling=SILENT,
        api=Api.CONVOY,
    )
    return Hidden(present=((to, key),))


def gaps(strategy: StrategyConfig) -> tuple[float, ...]:
    """Return how many seconds pass between the tries of a meta event."""
    count = strategy.retry_count - 1
    first = float(strategy.duration)
    if strategy.type == "linear":
        return (first,) * count
    most = max(RETRY_MAX_S, first)
    # Doubled so often, any gap is at its longest.
    return tuple(min(first * 2.0 ** min(number, 32), most) for number in range(count))


def told(home: ProjectConfig, project_id: Id, kind: MetaKind, data: Any) -> tuple[Told, ...]:
    """Return the meta event of a change, where the configuration asks for it."""
    wanted = home.meta_event
    if not wanted.is_enabled or kind not in (wanted.event_type or ()):
        return ()
    return (Told(hook_id(project_id), kind, _encode(data)),)


def reports(home: ProjectConfig) -> dict[End, str]:
    """Return which ends of tries are told, and as which meta events."""
    wanted = home.meta_event
    if not wanted.is_enabled:
        return {}
    return {end: kind.value for kind, end in REPORTS.items() if kind in (wanted.event_type or ())}


def body_of(event: Event) -> bytes:
    """Return a meta event as it is sent: `{event_type, data}`."""
    data = event.payload
    if event.type in REPORTS:
        data = _encode(_delivery(msgspec.json.decode(event.payload)))
    return b'{"event_type":%b,"data":%b}' % (_encode(event.type), data)


class MetaFormat:
    """A meta event, signed in the simple way: the HMAC-SHA256 of its bytes, hexadecimal."""

    name: Final = NAME
    signature_header: Final = SIGNATURE_HEADER

    def __init__(self, *, signed: bool = True) -> None:
        """Take whether there is a secret to sign by."""
        self._signed = signed

    def configured(self, settings: str) -> "MetaFormat":
        """Return it as it is by a subscription's settings."""
        return MetaFormat(signed=settings == _SIGNED)

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body."""
        event = outgoing.event
        body = body_of(event)
        lines = {
            "content-type": "application/json",
            "x-convoy-idempotency-key": ids.spell_ulid(event.id),
        }
        if self._signed:
            key = next(one for one in outgoing.keys if one.expires_at_us is None)
            lines[SIGNATURE_HEADER] = hmac.digest(key.material, body, hashlib.sha256).hex()
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return Rendered(head.encode("latin-1"), body)


def _delivery(tried: dict[str, Any]) -> dict[str, Any]:
    """Return what was told of a try as Convoy tells of the delivery."""
    delivery_id = _id(tried["delivery"])
    reason = tried["reason"]
    uid, made = ids.spell_ulid(delivery_id), born(delivery_id)
    return {
        "uid": uid,
        "project_id": _ulid(tried["project"]),
        "event_id": _ulid(tried["event"]),
        "endpoint_id": _ulid(tried["endpoint"] or tried["subscription"]),
        "subscription_id": _ulid(tried["subscription"]),
        "device_id": "",
        "idempotency_key": tried["idempotency_key"] or "",
        "event_type": tried["event_type"],
        "status": _STATUSES[tried["end"]],
        "description": reason.replace("_", " ") if reason else "",
        "metadata": {"num_trials": tried["number"], "next_send_time": tried["retry_at"]},
        "attempt": _attempt(tried, uid),
        "cli_metadata": None,
        "acknowledged_at": made,
        "created_at": made,
        "updated_at": tried["ended_at"],
        "deleted_at": None,
    }


def _attempt(tried: dict[str, Any], delivery: str) -> dict[str, Any]:
    code, text = tried["status_code"], tried["response"]
    attempt: dict[str, Any] = {
        "uid": _ulid(tried["attempt"]),
        "msg_id": delivery,
        "project_id": _ulid(tried["project"]),
        "endpoint_id": _ulid(tried["endpoint"] or tried["subscription"]),
        "url": tried["url"],
        "method": "POST",
        "requested_at": tried["started_at"],
        "responded_at": tried["ended_at"] if code else None,
    }
    if code:
        attempt |= {"http_status": status_line(code), "response_data": text}
    else:
        attempt["error"] = text
    if tried["end"] == End.DELIVERED:
        attempt["status"] = True
    return attempt


def _id(text: str) -> Id:
    return uuid.UUID(text).bytes


def _ulid(text: str) -> str:
    return ids.spell_ulid(_id(text))
