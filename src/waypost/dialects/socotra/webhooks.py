"""Webhooks: what Socotra's shapes ask of a subscription, and how a subscription stands in them.

A webhook's name is the subscription's description; whether it is signed is its format. What a
subscription has no field for (the tag of its secret, headers with several values) is kept with it.
A change is made of what the webhook is, as Socotra shows it: what is to go goes first.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from waypost.dialects.socotra.formats import PLAIN, SIGNED
from waypost.dialects.socotra.shapes import (
    ATTEMPTS,
    EndpointChange,
    EndpointIn,
    HandlingChange,
    HandlingIn,
    RetryChange,
    RetryIn,
    RetryOut,
    WebhookChange,
    WebhookIn,
)
from waypost.model.api import Api
from waypost.model.errors import InvalidInput
from waypost.model.failure import (
    AlertEndpoint,
    FailureHandling,
    Incoming,
    OnGivingUp,
    Otherwise,
    Pending,
    Strategy,
    WhileSuspended,
)
from waypost.model.subscription import Subscription
from waypost.policy import failure_settings
from waypost.policy.failure import CONNECTION, TLS, gaps_s
from waypost.policy.failure_settings import GAP_MAX_S, BroughtAlertEndpoint, FailureHandlingIn
from waypost.policy.settings import TYPES_MAX, Brought
from waypost.policy.terms import Terms

TIMEOUT: Final = "timeout"
TRIGGERS: Final = ("4xx", "5xx", TIMEOUT)
"""What counts where nothing is said of it."""

_UNANSWERED: Final = (TIMEOUT, CONNECTION, TLS)
"""All that Socotra calls a timeout: there was no answer."""

_NEVER: Final = failure_settings.RetryIn(strategy=Strategy.CONSTANT, interval_s=0.0, retries=0)
_ENDPOINT: Final = "endpoint"
_ALERT: Final = "failureHandling.alertEndpoint"
_TAG: Final = "tag"
_TOLD: Final = "told"
_HEADERS: Final = "headers"

Headers = Mapping[str, tuple[str, ...]]


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint as it is, or is to be.

    Attributes:
        secret: a new one; None: it stays, or there is none.
        has_secret: somebody was told of one.
        former_url: of the endpoint that it was until now.
    """

    url: str
    headers: Headers = {}
    secure_ssl: bool = True
    hmac_enabled: bool = False
    secret: str | None = None
    has_secret: bool = False
    tag: str | None = None
    former_url: str | None = None

    @property
    def format(self) -> str:
        """The format by which it is sent to."""
        return SIGNED if self.hmac_enabled else PLAIN

    def joined(self) -> dict[str, str]:
        """Return its headers with one value each: several are a list, as RFC 9110 (5.3) has it."""
        return {name: ", ".join(values) for name, values in self.headers.items()}

    def particulars(self) -> dict[str, Any]:
        """Return what is kept of it beside the fields that there are."""
        several = {name: values for name, values in self.headers.items() if len(values) > 1}
        has_secret = self.has_secret or self.hmac_enabled
        found = {_TAG: self.tag, _TOLD: has_secret, _HEADERS: several}
        return {name: value for name, value in found.items() if value}


class Handling(msgspec.Struct, frozen=True):
    """Failure handling as it is, or is to be; `triggers` in Socotra's words."""

    alert: Endpoint | None = None
    divert: bool = False
    retry: RetryOut | None = None
    suspend: bool = False
    triggers: tuple[str, ...] = TRIGGERS


def made(body: WebhookIn, unit_s: float = 1.0) -> Brought:
    """Return the settings of a new webhook; `unit_s` is what an interval of one is worth.

    Raises:
        InvalidInput: something can't be had; says what.
    """
    if body.use_automation_plugin:
        raise _fault("useAutomationPlugin", "Automation plugins are not supported")
    endpoint = _endpoint_in(body.endpoint, _ENDPOINT)
    handling = _handling_in(body.failure_handling or HandlingIn())
    return Brought(
        **_of_endpoint(endpoint),
        description=body.name,
        disabled=not body.enabled,
        event_types=_types(body.event_types),
        failure_handling=_native(handling, unit_s),
        api=Api.SOCOTRA,
        secret=endpoint.secret.encode() if endpoint.secret else None,
    )


def changed(
    present: Subscription, terms: Terms, body: WebhookChange, unit_s: float = 1.0
) -> Brought:
    """Return what a change makes of a webhook; `terms` are those that hold for it.

    Raises:
        InvalidInput: something can't be had; says what.
    """
    wanted: dict[str, Any] = {}
    if body.name is not None:
        wanted["description"] = body.name
    if body.enabled is not None:
        wanted["disabled"] = not body.enabled
    if body.add_event_types or body.remove_event_types:
        gone = set(body.remove_event_types or ())
        kept = [name for name in present.event_types or () if name not in gone]
        wanted["event_types"] = _types([*kept, *(body.add_event_types or ())])
    if body.endpoint is not None:
        endpoint = _endpoint_changed(endpoint_of(present), body.endpoint, _ENDPOINT)
        wanted |= _of_endpoint(endpoint)
        if endpoint.secret:
            wanted["secret"] = endpoint.secret.encode()
    if body.remove_failure_handling or body.failure_handling is not None:
        handling = Handling() if body.remove_failure_handling else handling_of(terms, unit_s)
        change = body.failure_handling or HandlingChange()
        wanted["failure_handling"] = _native(_handling_changed(handling, change), unit_s)
    return Brought(**wanted)


def endpoint_of(subscription: Subscription | AlertEndpoint) -> Endpoint:
    """Return an endpoint as it is, without its secret."""
    own = subscription.particulars
    several = {name: tuple(values) for name, values in own.get(_HEADERS, {}).items()}
    # The native API may have changed a header since: what is sent is what is shown.
    headers = {
        name: several[name] if ", ".join(several.get(name, ())) == value else (value,)
        for name, value in subscription.headers.items()
    }
    return Endpoint(
        url=subscription.url,
        headers=headers,
        secure_ssl=not subscription.insecure_tls,
        hmac_enabled=subscription.format == SIGNED,
        has_secret=bool(own.get(_TOLD)),
        tag=own.get(_TAG),
        former_url=subscription.url,
    )


def handling_of(terms: Terms, unit_s: float = 1.0) -> Handling:
    """Return failure handling as Socotra shows it, whoever has set it."""
    native = terms.failure_handling
    done = native.on_giving_up
    alert = native.alert_endpoints[0] if native.alert_endpoints else None
    return Handling(
        alert=None if alert is None else endpoint_of(alert),
        divert=OnGivingUp.DIVERT in done,
        retry=_retry_of(native, terms.retry_schedule_s, unit_s),
        suspend=OnGivingUp.SUSPEND in done,
        triggers=_triggers_of(native.triggers),
    )


def _types(names: Sequence[str]) -> tuple[str, ...]:
    types = tuple(dict.fromkeys(names))
    if not 1 <= len(types) <= TYPES_MAX:
        raise _fault("eventTypes", f"Must be 1 to {TYPES_MAX} event types")
    return types


def _of_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "headers": endpoint.joined(),
        "insecure_tls": not endpoint.secure_ssl,
        "format": endpoint.format,
        "particulars": endpoint.particulars(),
    }


def _endpoint_in(body: EndpointIn, path: str) -> Endpoint:
    if body.tag is not None and body.secret is None:
        raise _fault(f"{path}.tag", "Needs a secret beside it")
    return Endpoint(
        url=body.url,
        headers=body.headers or {},
        secure_ssl=body.secure_ssl is not False,
        hmac_enabled=bool(body.hmac_enabled),
        secret=body.secret,
        has_secret=body.secret is not None,
        tag=body.tag,
    )


def _endpoint_changed(present: Endpoint | None, body: EndpointChange, path: str) -> Endpoint:
    if body.tag is not None and body.secret is None:
        raise _fault(f"{path}.tag", "Needs a secret beside it")
    if present is None:
        if body.url is None:
            raise _fault(f"{path}.url", "Required")
        present = Endpoint(body.url)
    new: dict[str, Any] = {
        "url": body.url,
        "secure_ssl": body.secure_ssl,
        "hmac_enabled": body.hmac_enabled,
    }
    wanted = {name: value for name, value in new.items() if value is not None}
    if body.secret is not None:
        # The tag was that of the old one.
        wanted |= {"secret": body.secret, "has_secret": True, "tag": body.tag}
    added = body.add_headers or {}
    gone = {name.lower() for name in (*(body.remove_headers or ()), *added)}
    kept = {name: value for name, value in present.headers.items() if name.lower() not in gone}
    return replace(present, headers={**kept, **added}, **wanted)


def _handling_in(body: HandlingIn) -> Handling:
    alert, retry = body.alert_endpoint, body.retry_strategy
    triggers = TRIGGERS if body.triggers is None else body.triggers
    _check_triggers(triggers, "triggers")
    return Handling(
        alert=None if alert is None else _endpoint_in(alert, _ALERT),
        divert=bool(body.divert),
        retry=None if retry is None else _retry_in(retry),
        suspend=bool(body.suspend),
        triggers=tuple(dict.fromkeys(triggers)),
    )


def _handling_changed(present: Handling, body: HandlingChange) -> Handling:
    alert = None if body.remove_alert_endpoint else present.alert
    if body.alert_endpoint is not None:
        alert = _endpoint_changed(alert, body.alert_endpoint, _ALERT)
    retry = None if body.remove_retry_strategy else present.retry
    if body.retry_strategy is not None:
        retry = _retry_changed(retry, body.retry_strategy)
    _check_triggers(body.add_triggers or (), "addTriggers")
    gone = set(body.remove_triggers or ())
    kept = [one for one in present.triggers if one not in gone]
    return Handling(
        alert=alert,
        divert=present.divert if body.divert is None else body.divert,
        retry=retry,
        suspend=present.suspend if body.suspend is None else body.suspend,
        triggers=tuple(dict.fromkeys([*kept, *(body.add_triggers or ())])),
    )


def _check_triggers(triggers: Sequence[str], name: str) -> None:
    for index, trigger in enumerate(triggers):
        is_status = len(trigger) == 3 and trigger.isascii() and trigger[0] in "45"
        if trigger not in TRIGGERS and not (is_status and trigger.isdigit()):
            reason = "Must be a status from 400 to 599, 4xx, 5xx or timeout"
            raise _fault(f"failureHandling.{name}[{index}]", reason)


def _retry_in(body: RetryIn) -> RetryOut:
    return RetryOut(body.type, body.interval, ATTEMPTS if body.attempts is None else body.attempts)


def _retry_changed(present: RetryOut | None, body: RetryChange) -> RetryOut:
    if present is None:
        for name in ("type", "interval"):
            if getattr(body, name) is None:
                raise _fault(f"failureHandling.retryStrategy.{name}", "Required")
        present = RetryOut("", 0, ATTEMPTS)
    return RetryOut(
        body.type or present.type,
        body.interval or present.interval,
        body.attempts or present.attempts,
    )


def _native(handling: Handling, unit_s: float) -> FailureHandlingIn:
    """Return failure handling as it is set natively.

    Raises:
        InvalidInput: an interval is too long.
    """
    done = {
        OnGivingUp.DIVERT: handling.divert,
        OnGivingUp.SUSPEND: handling.suspend,
        OnGivingUp.ALERT: handling.alert is not None,
    }
    triggers = [one for one in handling.triggers if one != TIMEOUT]
    if TIMEOUT in handling.triggers:
        triggers += _UNANSWERED
    alert, retry = handling.alert, handling.retry
    if retry is not None and retry.interval * unit_s > GAP_MAX_S:
        most = int(GAP_MAX_S / unit_s)
        raise _fault("failureHandling.retryStrategy.interval", f"Must be at most {most}")
    return FailureHandlingIn(
        triggers=tuple(triggers),
        # What no trigger names is passed over, as if it had been delivered.
        otherwise=Otherwise.IGNORE,
        retry=_NEVER
        if retry is None
        else failure_settings.RetryIn(
            strategy=Strategy(retry.type),
            interval_s=retry.interval * unit_s,
            retries=retry.attempts,
            jitter=0.0,
        ),
        on_giving_up=tuple(what for what, is_wanted in done.items() if is_wanted),
        suspended=_suspended(divert=handling.divert) if handling.suspend else None,
        alert_endpoints=() if alert is None else (_native_alert(alert),),
        never_disable=True,
    )


def _suspended(*, divert: bool) -> WhileSuspended:
    """Return what becomes of deliveries: none of them goes on by itself later."""
    if divert:
        return WhileSuspended(Pending.DIVERT, Incoming.DIVERT)
    return WhileSuspended(Pending.KEEP, Incoming.CANCEL)


def _native_alert(alert: Endpoint) -> BroughtAlertEndpoint:
    return BroughtAlertEndpoint(
        url=alert.url,
        headers=alert.joined(),
        format=alert.format,
        insecure_tls=not alert.secure_ssl,
        particulars=alert.particulars(),
        key=alert.secret.encode() if alert.secret else None,
        follows=alert.former_url,
    )


def _retry_of(
    native: FailureHandling, schedule_s: Sequence[float], unit_s: float
) -> RetryOut | None:
    """Return retries as one of Socotra's strategies; others look like one that begins so."""
    retry = native.retry
    gaps = gaps_s(retry) if retry is not None else tuple(schedule_s)
    if not gaps:
        return None
    linear = retry is not None and retry.strategy in {Strategy.LINEAR, Strategy.CONSTANT}
    kind = Strategy.LINEAR if linear else Strategy.EXPONENTIAL
    return RetryOut(kind.value, max(round(gaps[0] / unit_s), 1), len(gaps))


def _triggers_of(triggers: tuple[str, ...] | None) -> tuple[str, ...]:
    if triggers is None:
        return TRIGGERS
    return tuple(one for one in triggers if one == TIMEOUT or one not in _UNANSWERED)


def _fault(path: str, reason: str) -> InvalidInput:
    return InvalidInput(details=[(path, reason)])


_WORDS: Final = (
    ("failure_handling.alert_endpoints[0]", _ALERT),
    ("failure_handling.retry.interval_s", "failureHandling.retryStrategy.interval"),
    ("failure_handling.retry.retries", "failureHandling.retryStrategy.attempts"),
    ("failure_handling.retry", "failureHandling.retryStrategy"),
    ("failure_handling", "failureHandling"),
    ("description", "name"),
    ("event_types", "eventTypes"),
    ("url", "endpoint.url"),
    ("headers", "endpoint.headers"),
)
"""What our settings are called there, the longest first where one begins with another."""


def in_their_words(error: InvalidInput) -> InvalidInput:
    """Return a refusal of settings with the paths that they have in Socotra's bodies."""
    return InvalidInput(details=[(_translated(path), why) for path, why in error.details])


def _translated(path: str) -> str:
    for ours, theirs in _WORDS:
        if path == ours or path.startswith((f"{ours}.", f"{ours}[")):
            return theirs + path[len(ours) :]
    return path
