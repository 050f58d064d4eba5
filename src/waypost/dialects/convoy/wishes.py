"""What an endpoint and a subscription of Convoy's come to in ours."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from waypost.dialects.convoy import authentication, chat, config, format, meta
from waypost.dialects.convoy.config import ProjectConfig
from waypost.dialects.convoy.format import FORM, NAME, Signed, Version
from waypost.dialects.convoy.things import (
    ANY_TYPE,
    Endpoint,
    EventFilter,
    Scopes,
    Subscribed,
    endpoint_of,
    subscribed_of,
)
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.errors import InvalidSetting
from waypost.model.record import Record
from waypost.model.subscription import Notices, Signing, SigningKey
from waypost.operations.changing import Wish
from waypost.policy.settings import Settings
from waypost.policy.transforms import TransformIn

TIMEOUT_S = 10
"""Of an attempt, where the endpoint says nothing."""


def wish(
    home: ProjectConfig,
    endpoint: Record,
    subscription: Record,
    filters: Sequence[EventFilter],
    *,
    revive: bool = False,
) -> Wish:
    """Return the subscription of ours that one of Convoy's comes to.

    Args:
        home: the project's configuration.
        endpoint: the record of its endpoint.
        subscription: its own record, whose id it has.
        filters: those of single event types.
        revive: it is sent to again where failures had it disabled; else it stays as it is.

    Raises:
        InvalidSetting: a filter is not in Convoy's language.
    """
    to, wanted = endpoint_of(endpoint), subscribed_of(subscription)
    return Wish(
        subscription.id,
        _settings(home, to, wanted, filters, revive=revive),
        format_settings=format.spelled(_signed(home, to)),
        endpoint_id=endpoint.id,
        keys=tuple(
            SigningKey(one.id, Signing.HMAC, one.value.encode(), one.expires_us)
            for one in to.secrets
        ),
        api=Api.CONVOY,
        notices=_notices(home, endpoint, to),
    )


def _notices(home: ProjectConfig, endpoint: Record, to: Endpoint) -> Notices:
    """Return who is told of an endpoint's subscription."""
    reports = meta.reports(home)
    watchers = chat.watchers(endpoint.id, to)
    return Notices(
        about=chat.about(to) if watchers or to.support_email else "",
        watchers=watchers,
        email=to.support_email,
        reporter=meta.hook_id(endpoint.project_id) if reports else None,
        reports=reports,
    )


def _settings(
    home: ProjectConfig,
    to: Endpoint,
    wanted: Subscribed,
    filters: Sequence[EventFilter],
    *,
    revive: bool,
) -> Settings:
    strategy = wanted.retry or home.strategy
    at_most_once = wanted.delivery_mode == "at_most_once"
    text = filter_text(wanted, filters)
    return Settings(
        url=to.url,
        description=wanted.name,
        event_types=None if ANY_TYPE in wanted.event_types else wanted.event_types,
        disabled=True if to.status == "inactive" else False if revive else UNSET,
        paused=to.status == "paused",
        authentication=authentication.native(to.authentication),
        format=NAME,
        filter=msgspec.Raw(b"null" if text is None else text),
        transform=TransformIn(javascript=wanted.function) if wanted.function else None,
        timeout_s=float(to.http_timeout or TIMEOUT_S),
        failure_handling=config.failure_handling(
            strategy, disable=home.disable_endpoint, at_most_once=at_most_once
        ),
        rate_limit=_limit(home, to, wanted),
        breaker=config.breaker(home.circuit_breaker),
    )


def _limit(home: ProjectConfig, to: Endpoint, wanted: Subscribed) -> Any:
    own = wanted.rate_limit
    if own is not None and own.count:
        return config.rate_limit(own.count, own.duration)
    if to.rate_limit:
        return config.rate_limit(to.rate_limit, to.rate_limit_duration)
    return config.rate_limit(home.ratelimit.count, home.ratelimit.duration)


def _signed(home: ProjectConfig, to: Endpoint) -> Signed:
    return Signed(
        header=home.signature.header,
        versions=tuple(Version(one.hash, one.encoding) for one in home.signature.versions),
        advanced=to.advanced_signatures or home.replay_attacks_prevention_enabled,
        form=to.content_type == FORM,
        request_id_header=home.request_id_header,
        trace=home.add_event_id_trace_headers,
        own=authentication.header_names(to.authentication),
    )


def filter_text(wanted: Subscribed, filters: Sequence[EventFilter]) -> bytes | None:
    """Return all that is asked of the content of events as one filter of ours; None for nothing.

    Of the filters for single types an event goes by that of its own type, else by that of `*`.
    """
    parts: list[dict[str, Any]] = []
    if wanted.source_id is not None:
        parts.append({"source": ids.spell_uuid(wanted.source_id)})
    if not wanted.filter.is_empty:
        parts.append(translated(wanted.filter))
    by_type = {one.event_type: one.scopes for one in filters if one.enabled_us is not None}
    others = by_type.pop(ANY_TYPE, None)
    if by_type:
        own = [
            {"$and": [{"event_type": kind}, *_unless_empty(scopes)]}
            for kind, scopes in by_type.items()
        ]
        rest = {"event_type": {"$nin": [*by_type]}}
        parts.append({"$or": [*own, {"$and": [rest, *_unless_empty(others)]}]})
    else:
        parts += _unless_empty(others)
    return msgspec.json.encode({"$and": parts}) if parts else None


def _unless_empty(scopes: Scopes | None) -> list[dict[str, Any]]:
    return [] if scopes is None or scopes.is_empty else [translated(scopes)]


def translated(scopes: Scopes) -> dict[str, Any]:
    """Return a filter of Convoy's as one of ours."""
    found: dict[str, Any] = {
        name: getattr(scopes, name)
        for name in ("headers", "body", "query")
        if getattr(scopes, name)
    }
    parts = [found] if found else []
    if scopes.path:
        parts.append(_path(scopes.path))
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _path(condition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a condition on `{"path": …}`, in which Convoy has the path, as one on our path."""
    parts: list[dict[str, Any]] = []
    for name, value in condition.items():
        if name == "path":
            parts.append({"path": value})
        elif name in {"$and", "$or"} and isinstance(value, list):
            inner = [_path(one) for one in value if isinstance(one, dict)]
            if len(inner) != len(value) or not inner:
                raise InvalidSetting(details=[(f"path.{name}", "must be an array of conditions")])
            parts.append({name: inner})
        else:
            reason = "must be path, $and or $or"
            raise InvalidSetting(details=[(f"path.{name}", reason)])
    return {"$and": parts}
