"""`/ingest/{mask}`: where the webhooks of others come in, at a source.

1. which source it is, and whether it takes anything in;
2. verify what came, by the very bytes, and make an event of it: aside where that would take long;
3. keep it;
4. answer: in the words that senders know, or in those of the source.
"""

import asyncio
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.dialects.convoy import envelope
from waypost.dialects.convoy.envelope import Answer
from waypost.model.source import Source
from waypost.operations.sources import INGEST, Sources
from waypost.policy.events import Draft, needs_scan
from waypost.policy.inbound import Inbound
from waypost.web.aside import Aside
from waypost.web.errors import Surfaces, UnsupportedMediaType
from waypost.web.requests import is_encoded, read_body

PATH: Final = f"{INGEST}/{{mask}}"
RECEIVED: Final = "Event received"
REPEATED: Final = "Duplicate event received, but will not be sent"

_HARMLESS: Final = {"content-security-policy": "sandbox; default-src 'none'"}
"""A source's own answer is no page of this server's."""


class IngestRoutes:
    """The handlers of the one path."""

    def __init__(self, sources: Sources, aside: Aside) -> None:
        """Take the operations, and where long work is done."""
        self._sources = sources
        self._aside = aside

    def routes(self, surfaces: Surfaces) -> list[Route]:
        """Return what is served; errors there are in its envelope from now on."""
        surfaces.add(INGEST, envelope.render)
        return [Route(PATH, self._serve, methods=["GET", "POST"])]

    async def _serve(self, request: Request) -> Response:
        return await (self._post if request.method == "POST" else self._challenge)(request)

    async def _post(self, request: Request) -> Response:
        """Take in an event."""
        source = self._sources.enter(request.path_params["mask"])
        if is_encoded(request):
            raise UnsupportedMediaType("Content-Encoding is not supported")
        body = await read_body(request, self._sources.max_bytes(source))
        headers = [(name, value.strip()) for name, value in request.scope["headers"]]
        inbound = Inbound(headers, request.url.path, request.scope["query_string"], body)
        accepted = await self._sources.receive(source, await self._read(source, inbound))
        own = source.custom_response
        if own is not None:
            return Response(own.body, 200, _HARMLESS, own.content_type)
        message = REPEATED if accepted.duplicate else RECEIVED
        return _json(Answer(message, len(accepted.payload)).encoded())

    async def _challenge(self, request: Request) -> Response:
        """Answer a provider's challenge."""
        source = self._sources.enter(request.path_params["mask"])
        token = request.query_params.get("crc_token")
        answer = await self._sources.challenge(source, token)
        return _json(msgspec.json.encode({"response_token": answer}))

    async def _read(self, source: Source, inbound: Inbound) -> Draft:
        read = self._sources.reading(source, inbound)
        if not needs_scan(inbound.body) and not self._aside.holds(source.id):
            return read()
        answer: asyncio.Future[Draft] = asyncio.get_running_loop().create_future()

        def then(result: Draft | BaseException) -> None:
            if answer.cancelled():
                return
            if isinstance(result, BaseException):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        self._aside.run(source.id, read, then)
        return await answer


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
