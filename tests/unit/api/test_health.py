"""Alive, ready, and measured."""

import json

import pytest
from starlette.requests import Request

from waypost.api.health import Health

REQUEST = Request({"type": "http", "headers": [], "method": "GET"})


def health(checks: dict[str, str | None]) -> Health:
    return Health(lambda: checks, lambda: b"waypost_up 1\n")


async def test_whoever_answers_is_alive() -> None:
    assert (await health({"disk": "full"}).healthz(REQUEST)).status_code == 200


@pytest.mark.parametrize(
    "checks, status, wrong",
    [
        ({}, 200, None),
        ({"disk": None, "server": None}, 200, None),
        ({"disk": "full", "server": None}, 503, {"disk": "full"}),
    ],
)
async def test_ready_is_who_has_nothing_wrong(
    checks: dict[str, str | None], status: int, wrong: dict[str, str] | None
) -> None:
    response = await health(checks).readyz(REQUEST)
    assert response.status_code == status
    assert json.loads(bytes(response.body)).get("checks") == wrong


async def test_metrics_are_in_prometheus_format() -> None:
    response = await health({}).metrics(REQUEST)
    assert response.body == b"waypost_up 1\n"
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
