"""What a subscription shows of which nothing but its URL was set."""

from typing import Any

_FLOW: dict[str, Any] = {
    "rate_limit": None,
    "breaker": {
        "enabled": True,
        "failure_ratio": 0.8,
        "min_requests": 20,
        "window_s": 30,
        "open_s": 10,
        "probes": 3,
        "disable_after": None,
    },
    "sending_hours": None,
    "priority": "normal",
    "deliver_before_s": None,
}

BARE: dict[str, Any] = {
    "api": "native",
    "name": "",
    "description": "",
    "event_types": None,
    "disabled": False,
    "disabled_reason": None,
    "paused": False,
    "headers": {},
    "insecure_tls": False,
    "timeout_s": 20.0,
    "concurrency": 64,
    "format": "payload",
    "signing": "v1",
    "owner": None,
    "retry_schedule": "standard",
    **_FLOW,
    "inherited": [
        *(*_FLOW, "timeout_s", "concurrency", "retry_schedule", "failure_handling"),
        *("ordering", "on_order_failure", "verification"),
    ],
    "suspended": False,
    "suspension": None,
    "failure_handling": {
        "triggers": None,
        "otherwise": "trigger",
        "retry": None,
        "retry_window_s": None,
        "disable_after_s": None,
        "on_giving_up": ["divert"],
        "suspended": {"pending": "keep", "incoming": "keep"},
        "alert_endpoints": [],
        "never_disable": False,
    },
    "filter": None,
    "transform": None,
    "verification": "none",
    "verification_status": None,
    "authentication": None,
    "ordering": "none",
    "on_order_failure": "continue",
    "failing_since": None,
}
