"""Whether the server is alive and ready, and what it has done."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Checks = Callable[[], Mapping[str, str | None]]
"""Tells of each part of the server, by name, what is wrong with it; None where nothing is."""


class Health:
    """The pages that a supervisor and a collector of metrics ask for; they need no key."""

    def __init__(self, checks: Checks, metrics: Callable[[], bytes]) -> None:
        """Take what tells whether the server is ready, and what renders its metrics."""
        self._checks = checks
        self._metrics = metrics

    async def healthz(self, _request: Request) -> Response:
        """Answer: whoever can has not hung."""
        return _json({"status": "alive"}, 200)

    async def readyz(self, _request: Request) -> Response:
        """Answer 200 where events are accepted and sent, else 503; name what is wrong."""
        wrong = {name: reason for name, reason in self._checks().items() if reason is not None}
        if wrong:
            return _json({"status": "not ready", "checks": wrong}, 503)
        return _json({"status": "ready"}, 200)

    async def metrics(self, _request: Request) -> Response:
        """Answer with the metrics in Prometheus' text format."""
        return Response(self._metrics(), media_type=METRICS_TYPE)


def _json(body: Mapping[str, object], status: int) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
