"""The channel: messages go to every other process, and after a break it is said that some may not.

The other side of each test is a second channel on the same server.
"""

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from structlog.testing import capture_logs

from tests.support import database, postgres
from waypost.storage.postgres import channel as subject
from waypost.storage.postgres.channel import Channel
from waypost.storage.postgres.connection import PostgresOptions
from waypost.storage.postgres.presence import Presence

PATIENCE_S = 10.0
CONNECTED = "connected"


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.fresh(database.fill) as made:
        yield made


@contextmanager
def channel(url: str) -> Iterator[tuple[Channel, "queue.Queue[str]"]]:
    """Have a channel that is connected, and what it brings."""
    brought: queue.Queue[str] = queue.Queue()
    made = Channel(url, PostgresOptions(), brought.put, lambda: brought.put(CONNECTED), Presence())
    made.start()
    assert brought.get(timeout=PATIENCE_S) == CONNECTED
    yield made, brought
    made.close()


def test_messages_go_to_the_others_and_not_back(url: str) -> None:
    with channel(url) as (first, to_first), channel(url) as (second, to_second):
        first.send(["a", "b"])
        assert [to_second.get(timeout=PATIENCE_S) for _ in range(2)] == ["a", "b"]
        second.send(["c"])
        assert to_first.get(timeout=PATIENCE_S) == "c"
        assert to_first.empty()
        assert to_second.empty()


def test_what_comes_while_something_is_sent_is_not_lost(url: str) -> None:
    with channel(url) as (first, to_first), channel(url) as (second, to_second):
        for number in range(200):
            first.send([f"f{number}"])
            second.send([f"s{number}"])
        assert {to_second.get(timeout=PATIENCE_S) for _ in range(200)} == {
            f"f{number}" for number in range(200)
        }
        assert {to_first.get(timeout=PATIENCE_S) for _ in range(200)} == {
            f"s{number}" for number in range(200)
        }


def test_what_was_handed_over_is_sent_before_the_end(url: str) -> None:
    with channel(url) as (_, brought):
        with channel(url) as (other, _):
            other.send(["last"])
        assert brought.get(timeout=PATIENCE_S) == "last"


def test_after_a_break_it_is_said_that_something_may_have_been_missed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_RETRY_S", 0.0)
    with (
        capture_logs(),
        channel(url) as (_, brought),
        psycopg.connect(url, autocommit=True) as other,
    ):
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE '%channel' AND datname = current_database()"
        )
        assert brought.get(timeout=PATIENCE_S) == CONNECTED
        other.execute("SELECT pg_notify('waypost', 'again')")
        assert brought.get(timeout=PATIENCE_S) == "again"


def test_one_that_never_connects_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs():
        made = Channel(
            "postgresql://127.0.0.1:1/none",
            PostgresOptions(),
            lambda _: None,
            lambda: None,
            Presence(),
        )
        made.start()
        made.send(["a"] * 5_000)
        made.close()
