"""Lists: how long each list of each API takes with a million events in the database.

The events are of several types, one of them most of all, and all were settled; those of one type
have failed at one subscription, and are in its box. Requests come one at a time, and then from
several connections; what the server and the database spend of the processors stands beside.
"""

import http.client
import json
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.apis import NATIVE
from bench.bars import LIST_MS
from bench.child import ChildError
from bench.figures import Percentiles, percentiles_ms
from bench.filling import DAY_MS, DAYS, Sample, fill, sample
from bench.probes import (
    FAILED,
    LITHIC,
    OWNER,
    RARE,
    REQUEST,
    SELDOM,
    TYPES,
    Places,
    Probe,
    probes,
    read_ulid,
    ulid,
)
from bench.processes import cpu_seconds
from bench.report import Figure, Report, Section
from bench.rounds import Receiver, Say
from bench.scenarios import Settings, prefixed
from bench.server import Running, Waypost

REQUESTS = 100
"""So many of each are made, unless they take longer than this together."""
ENOUGH_S = 2.0
WARM_UP = 3
ANSWER_S = 300.0
CONNECTIONS = 4
READS_PER_S = {"WAYPOST_READ_RATE": "1000000", "WAYPOST_WRITE_RATE": "1000000"}
NOWHERE = "http://127.0.0.1:9/closed"
SETTLED_S = 30.0
HEADERS = {"buildable": "x-buildable-secret"}


@dataclass(frozen=True, slots=True)
class Timed:
    """What one list took.

    Attributes:
        alone: requests one at a time.
        together: from several connections.
        cpu_ms: processor time of the server for each, of those that came alone.
        database_ms: the same of the database's server.
        bytes: of an answer.
    """

    alone: Percentiles
    together: Percentiles
    cpu_ms: float
    database_ms: float
    bytes: int


def lists(settings: Settings, report: Report, events: int) -> None:
    """Fill and measure, for each product."""
    report.ledger = False
    for product in settings.products:
        program = replace(product, subscriptions=1, settings={**product.settings, **READS_PER_S})
        say = prefixed(settings.say, f"lists, {program.name}: ")
        with _filled(program, events, settings.parent, say) as (server, places):
            found: dict[str, dict[str, Timed]] = {}
            for probe in probes(places):
                say(f"{probe.api}: {probe.name}")
                found.setdefault(probe.api, {})[probe.name] = measure(server, probe)
        report.details.setdefault("lists", {})[program.name] = found
        report.sections += [section(program.name, api, each) for api, each in found.items()]


def measure(server: Running, probe: Probe) -> Timed:
    """Ask for one list, again and again.

    Raises:
        ChildError: it was refused.
    """
    key = server.key_for(NATIVE if probe.api == LITHIC else probe.api)
    if probe.prior:
        probe = probe.after(ask(server, replace(probe, path=probe.prior, prior=""), key, 1)[1])
    warm, answer = ask(server, probe, key, WARM_UP)
    before = _clocks(server)
    # What takes seconds is not asked for a hundred times.
    hopeless = sum(warm) > ENOUGH_S * 1e9
    alone = ask(server, probe, key, 1 if hopeless else REQUESTS)[0]
    spent = [now - then for now, then in zip(_clocks(server), before, strict=True)]
    each = 0 if hopeless else -(-len(alone) // CONNECTIONS)
    return Timed(
        alone=percentiles_ms(alone),
        together=percentiles_ms(_together(server, probe, key, each) or alone),
        cpu_ms=1000 * spent[0] / len(alone),
        database_ms=1000 * spent[1] / len(alone),
        bytes=len(answer),
    )


def _together(server: Running, probe: Probe, key: str, each: int) -> list[int]:
    """Ask so often on each of several connections at once; give how long each request took."""
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        parts = [threads.submit(ask, server, probe, key, each) for _ in range(CONNECTIONS)]
        return [one for part in parts for one in part.result()[0]]


def ask(server: Running, probe: Probe, key: str, count: int) -> tuple[list[int], bytes]:
    """Ask so many times on one connection; give how long each took (ns), and the last answer.

    Raises:
        ChildError: it was refused.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_S)
    headers = {HEADERS.get(probe.api, "authorization"): key, "content-type": "application/json"}
    method = "GET" if probe.body is None else "POST"
    content = None if probe.body is None else json.dumps(probe.body)
    took: list[int] = []
    body = b""
    try:
        while len(took) < count and sum(took) < ENOUGH_S * 1e9:
            started = time.perf_counter_ns()
            connection.request(method, probe.path, content, headers)
            answer = connection.getresponse()
            body = answer.read()
            took.append(time.perf_counter_ns() - started)
            if answer.status != http.client.OK:
                raise ChildError(f"{method} {probe.path}: {answer.status} {body[:300]!r}")
    finally:
        connection.close()
    return took, body


def section(program: str, api: str, found: dict[str, Timed]) -> Section:
    """The table of one API."""
    p50, p99, many, server, database, size = (
        "p50",
        "p99",
        f"p99 of {CONNECTIONS}",
        "server CPU",
        "database CPU",
        "kB",
    )
    figures = [
        Figure(
            name,
            "ms",
            {
                p50: one.alone.p50,
                p99: one.alone.p99,
                many: one.together.p99,
                server: one.cpu_ms,
                database: one.database_ms,
                size: one.bytes / 1000,
            },
            {p99: LIST_MS},
        )
        for name, one in found.items()
    ]
    title = f"Lists of {api}, {program}: one request at a time, and {CONNECTIONS}"
    return Section(title, [p50, p99, many, server, database, size], figures)


def _clocks(server: Running) -> tuple[float, float]:
    database = server.database_pid
    return cpu_seconds(server.pid), 0.0 if database is None else cpu_seconds(database)


# --- what is asked --------------------------------------------------------------------------------


@contextmanager
def _filled(
    program: Waypost, events: int, parent: Path | None, say: Say
) -> Iterator[tuple[Running, Places]]:
    """Have a server on a database with so many events; gone on leaving."""
    with tempfile.TemporaryDirectory(prefix="waypost-bench-lists-", dir=parent) as name:
        directory = Path(name)
        receiver = Receiver(directory)
        with receiver.child:
            say("the samples, through the server")
            server = program.start(directory, receiver.port)
            try:
                with server.child:
                    endpoint, webhook, project = _prepare(server, receiver.port)
                    samples = _settle(server)
                    server.stop()
                assert server.database is not None  # noqa: S101 - a Waypost always has one
                fill(server.database, events, say, samples)
                again = program.serve_again(directory, server)
                with again.child:
                    yield again, _places(again, endpoint, webhook, project)
                    again.stop()
            finally:
                server.release()


def _prepare(server: Running, port: int) -> tuple[str, str, uuid.UUID]:
    """Make what others deliver to; give Convoy's endpoint, Socotra's webhook, the project."""

    def post(api: str, path: str, body: dict[str, object]) -> Any:
        return json.loads(server.ask("POST", path, body, key=server.key_for(api)))

    project = uuid.UUID(json.loads(server.ask("GET", "/v1/projects"))["data"][0]["token"][4:])
    convoy = f"/api/v1/projects/{ulid(project)}"
    wanted: dict[str, object] = {"name": "e", "url": f"http://localhost:{port}/hook"}
    endpoint = post("convoy", f"{convoy}/endpoints", wanted)["data"]["uid"]
    post("convoy", f"{convoy}/subscriptions", {"name": "s", "endpoint_id": endpoint})
    webhook = post(
        "socotra",
        f"/event/{project}/webhooks",
        {
            "name": "w",
            "enabled": True,
            "eventTypes": [FAILED],
            "endpoint": {"url": NOWHERE},
            "failureHandling": {"divert": True},
        },
    )
    destination: dict[str, object] = {
        "name": "d",
        "destinationUrl": NOWHERE,
        "eventTypes": ["nothing"],
    }
    post("stedi", "/destinations", destination)
    return endpoint, str(read_ulid(webhook["locator"])), project


def _settle(server: Running) -> list[Sample]:
    """Post an event of each type, and wait until nothing is owed."""
    samples = []
    for kind, every in TYPES.items():
        body: dict[str, object] = {"event_type": kind, "payload": {"of": kind, "text": "x" * 100}}
        if kind == RARE:
            body |= {"owner": OWNER, "user": "user-1"}
        if kind == SELDOM:
            body |= {"request_id": REQUEST}
        samples.append(sample(server.ask("POST", "/v1/events", body), every))
    deadline = time.monotonic() + SETTLED_S
    while json.loads(server.ask("GET", "/v1/deliveries?state=pending"))["data"]:
        if time.monotonic() > deadline:
            raise ChildError("the samples were not settled")
        time.sleep(0.05)
    return samples


def _places(server: Running, endpoint: str, webhook: str, project: uuid.UUID) -> Places:
    now_ms = time.time_ns() // 1_000_000
    start_ms = now_ms - int(DAYS * DAY_MS)

    def at(day: float) -> str:
        moment = datetime.fromtimestamp((start_ms + day * DAY_MS) / 1000, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    page = json.loads(server.ask("GET", f"/v1/events?end={at(1)}&page_size=1"))
    return Places(
        project=project,
        deep=uuid.UUID(page["data"][0]["token"][4:]),
        subscription=server.subscriptions[0],
        endpoint=endpoint,
        webhook=webhook,
        begin=at(1),
        end=at(2.3),
    )
