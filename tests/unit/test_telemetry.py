"""The log's forms, and the page of metrics."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from waypost import telemetry
from waypost.telemetry import MEASURES, Exporter, Reading

log = structlog.get_logger("test")


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def written(form: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    telemetry.configure_log(form, level, stream)
    return stream


def test_json_is_one_object_a_line_with_event_level_and_time() -> None:
    stream = written("json")
    log.info("server_started", url="http://x")
    log.warning("disk_low")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["event"] == "server_started"
    assert first["url"] == "http://x"
    assert first["timestamp"].endswith("Z")
    assert second["level"] == "warning"


def test_pretty_is_for_people() -> None:
    stream = written("pretty")
    log.info("server_started", url="http://x")
    assert "server_started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_auto_is_json_where_nobody_looks() -> None:
    stream = written("auto")
    log.info("server_started")
    assert json.loads(stream.getvalue())["event"] == "server_started"


def test_what_is_below_the_level_is_not_written() -> None:
    stream = written("json", "warning")
    log.info("server_started")
    assert stream.getvalue() == ""


def test_the_log_of_libraries_has_the_same_form() -> None:
    stream = written("json")
    logging.getLogger("some.library").warning("watch %s", "out")
    logging.getLogger("uvicorn.error").info("ordinary work")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["watch out"]


def test_an_exception_is_written_with_its_trace() -> None:
    stream = written("json")
    try:
        int("broken")
    except ValueError:
        log.exception("request_failed")
    assert "ValueError: invalid literal" in json.loads(stream.getvalue())["exception"]


@pytest.mark.parametrize("name", ["secret", "authorization", "payload", "admin_key", "signature"])
def test_secrets_are_masked_even_where_they_are_handed_over(name: str) -> None:
    stream = written("json")
    log.info("server_started", **{name: "canary"})
    assert "canary" not in stream.getvalue()


def readings(**given: Reading) -> dict[str, Reading]:
    return {one.name: given.get(one.name, lambda: 0.0) for one in MEASURES}


def test_a_metric_is_read_when_it_is_scraped() -> None:
    refused: dict[str, float] = {}
    exporter = Exporter(readings(requests_refused=lambda: refused))
    assert "waypost_requests_refused_total{" not in exporter.render().decode()
    refused["429"] = 2
    assert 'waypost_requests_refused_total{status="429"} 2.0' in exporter.render().decode()


def test_counters_and_gauges_are_told_apart() -> None:
    page = Exporter(readings(lanes=lambda: 7)).render().decode()
    assert "# TYPE waypost_events_accepted_total counter" in page
    assert "# TYPE waypost_lanes gauge" in page
    assert "waypost_lanes 7.0" in page


def test_a_metric_that_nobody_reads_is_refused() -> None:
    missing = readings()
    del missing["lanes"]
    with pytest.raises(KeyError):
        Exporter(missing)
