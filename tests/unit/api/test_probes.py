"""Test events on the wire."""

from waypost.api.probes import ProbeRoutes


def test_there_is_one_operation() -> None:
    (row,) = ProbeRoutes(None).operations()  # type: ignore[arg-type] # is not called
    assert (row.method, row.path) == (
        "POST",
        "/v1/event_subscriptions/{event_subscription_token}/test",
    )
