"""Endpoints as Convoy shows them."""

from typing import Any, Final

from waypost.dialects.convoy import authentication
from waypost.dialects.convoy.answers import AuthenticationOut, EndpointOut, EndpointStatus
from waypost.dialects.convoy.envelope import born, spelled
from waypost.dialects.convoy.things import Endpoint
from waypost.model import ids
from waypost.model.record import Record

MASKED: Final = "***"


def endpoint_out(
    record: Record, endpoint: Endpoint, status: EndpointStatus, *, masked: bool
) -> EndpointOut:
    """Return an endpoint as Convoy shows it, without what is counted; `masked`: no secrets."""
    return {
        "uid": ids.spell_ulid(record.id),
        "project_id": ids.spell_ulid(record.project_id),
        "owner_id": endpoint.owner_id,
        "url": endpoint.url,
        "name": endpoint.name,
        "secrets": [
            {
                "uid": ids.spell_ulid(one.id),
                "value": MASKED if masked else one.value,
                "expires_at": spelled(one.expires_us),
                "created_at": born(one.id),
                "updated_at": born(one.id),
                "deleted_at": None,
            }
            for one in endpoint.secrets
        ],
        "advanced_signatures": endpoint.advanced_signatures,
        "description": endpoint.description,
        "slack_webhook_url": MASKED
        if masked and endpoint.slack_webhook_url
        else endpoint.slack_webhook_url,
        "teams_webhook_url": MASKED
        if masked and endpoint.teams_webhook_url
        else endpoint.teams_webhook_url,
        "support_email": endpoint.support_email,
        "status": status,
        "http_timeout": endpoint.http_timeout,
        "events": 0,
        "authentication": _authentication(endpoint, masked=masked),
        "rate_limit": endpoint.rate_limit,
        "rate_limit_duration": endpoint.rate_limit_duration,
        "content_type": endpoint.content_type,
        "failure_rate": 0,
        "cb_state": None,
        "period_failure_rate": None,
        "success_count": None,
        "failure_count": None,
        "retry_count": None,
        "mtls_client_cert": None,
        "created_at": born(record.id),
        "updated_at": spelled(record.changed_us),
        "deleted_at": spelled(record.deleted_us),
    }


def _authentication(endpoint: Endpoint, *, masked: bool) -> AuthenticationOut | None:
    kept = endpoint.authentication
    shown: Any = authentication.masked(kept) if masked else kept
    found: AuthenticationOut | None = shown
    return found
