"""Telemetry: how the log is written, and the table of all metrics.

The parts of Waypost count in plain attributes of their own, each written by one thread alone;
nothing is computed until somebody scrapes. `server.py` says from where each metric is read.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from structlog.typing import EventDict, Processor, WrappedLogger

LOG_FORMATS: Final = ("auto", "json", "pretty")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")

_MASKED: Final = frozenset(
    {"admin_key", "authorization", "cookie", "headers", "key", "payload", "secret", "signature"}
)
_LIBRARIES: Final = ("alembic", "asyncio", "uvicorn")


def configure_log(
    form: str, level: str, stream: TextIO | None = None, *, process: int | None = None
) -> None:
    """Send the log, and that of the libraries, to `stream` (standard error by default).

    Args:
        form: "json" (one object a line), "pretty" (for people), or "auto": pretty on a terminal.
        level: the lowest level that is written, one of `LOG_LEVELS`.
        stream: where the lines go.
        process: its number in a group, for each line.
    """
    stream = stream or sys.stderr
    pretty = form == "pretty" or (form == "auto" and stream.isatty())
    before: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _mask,
    ]
    if process is not None:
        before.append(_numbered(process))
    after: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if pretty:
        # Plain tracebacks: one that shows variables would show keys and payloads.
        after.append(
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        )
    else:
        after += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=after)
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for library in _LIBRARIES:
        # What they tell of their ordinary work, Waypost tells in its own words.
        logging.getLogger(library).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )


def _mask(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """Hide what must never stand in a log, should a caller ever hand it over."""
    for name in entry.keys() & _MASKED:
        entry[name] = "***"
    return entry


def _numbered(process: int) -> Processor:
    def add(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
        entry["process"] = process
        return entry

    return add


class Measure(msgspec.Struct, frozen=True):
    """One metric: its name without `waypost_`, what it means, and its label if it has one.

    `grows`: a counter, which only ever grows; else a gauge.
    `shared`: all processes of a group look at the same thing: they have it together, not each.
    """

    name: str
    meaning: str
    grows: bool = True
    label: str = ""
    shared: bool = False


MEASURES: Final = (
    Measure("events_accepted", "Events accepted and committed."),
    Measure("events_duplicate", "Events repeated under their idempotency key."),
    Measure("requests_refused", "Requests answered with an error.", label="status"),
    Measure("deliveries", "Deliveries that came to an end.", label="state"),
    Measure("retries", "Attempts that failed and are followed by another."),
    Measure("requests_resent", "Requests written twice: a reused connection had died."),
    Measure("transforms", "Runs of transforms, checks and tests among them.", label="result"),
    Measure("deliveries_expired", "Deliveries given up because they were owed for too long."),
    Measure("results_unplaced", "Late results of events that retention had taken by then."),
    Measure("rows_pruned", "Rows that had had their time and were deleted.", label="table"),
    Measure("partitions_dropped", "Partitions that had had their time and were dropped."),
    Measure("storage_commits", "Transactions committed."),
    Measure("storage_events", "Events written; divided by the commits, the size of a batch."),
    Measure("storage_statements", "Statements sent for events; BEGIN and COMMIT count."),
    Measure("storage_syncs", "Waits for the disk that commits made."),
    Measure("attempts_in_flight", "Attempts that are being made now.", grows=False),
    Measure("lanes", "Subscriptions with work in memory.", grows=False),
    Measure("transform_workers", "Processes that run transforms.", grows=False),
    Measure("queue_depth", "Deliveries that are owed, ten seconds ago.", grows=False, shared=True),
    Measure("intake_waiting", "Events that wait for their commit.", grows=False),
    Measure("intake_free_bytes", "Room for further request bodies.", grows=False),
    Measure("connections", "Connections that callers have open.", grows=False),
    Measure(
        "disk_free_bytes", "Free bytes on the database's disk (SQLite).", grows=False, shared=True
    ),
    Measure("resident_memory_bytes", "Memory that the process occupies.", grows=False),
)

Reading = Callable[[], float | Mapping[str, float]]
"""Reads a metric now: a number, or numbers by the value of its label."""


class Exporter:
    """Renders all metrics in Prometheus' text format."""

    def __init__(self, readings: Mapping[str, Reading]) -> None:
        """Take how each of `MEASURES` is read, by its name."""
        self._readings = [(measure, readings[measure.name]) for measure in MEASURES]
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        """Return the page of `/metrics`."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; Prometheus' client calls this at a scrape."""
        for measure, read in self._readings:
            family = CounterMetricFamily if measure.grows else GaugeMetricFamily
            labels = [measure.label] if measure.label else []
            metric = family(f"waypost_{measure.name}", measure.meaning, labels=labels)
            value = read()
            values = value.items() if isinstance(value, Mapping) else [("", value)]
            for label, number in values:
                metric.add_metric([label] if labels else [], number)
            yield metric
