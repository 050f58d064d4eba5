"""Consumers of several processes that are killed: no message is had twice under one key."""

import base64
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.support import postgres
from tests.support.buildable import Client
from tests.support.program import ADMIN_KEY, Program, call, server, waypost
from tests.support.site import eventually

NAME = "order.created"
TX_KEYS = ("billing", "mail", "stock")
PROCESSES = 4
CONSUMERS = 32
SECRET_KEY = base64.b64encode(bytes(range(32))).decode()


class Fleet:
    """Several processes on one PostgreSQL; one that is killed is started anew."""

    def __init__(self, stack: ExitStack, folder: Path, database: str) -> None:
        self._stack = stack
        self._folder = folder
        self._settings = {"WAYPOST_DATABASE_URL": database, "WAYPOST_SECRET_KEY": SECRET_KEY}
        assert waypost(folder, "migrate", **self._settings).status == 0
        self.running: list[tuple[Program, str]] = [self._start() for _ in range(PROCESSES)]
        self.kills = 0

    def _start(self) -> tuple[Program, str]:
        return self._stack.enter_context(server(self._folder, **self._settings))

    def kill(self, number: int) -> None:
        """Kill a process, and start another in its place."""
        self.running[number][0].kill()
        self.kills += 1
        self.running[number] = self._start()

    def url(self, number: int) -> str:
        """Where a process listens."""
        return self.running[number % PROCESSES][1]


class Claims:
    """What was claimed, as consumers were told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.won: Counter[tuple[str, str]] = Counter()

    def add(self, key: str, tx_key: str) -> None:
        """Note that somebody was told to have an event."""
        with self._lock:
            self.won[key, tx_key] += 1


def consume(fleet: Fleet, secret: str, number: int, claims: Claims, ended: threading.Event) -> None:
    """Poll as the vendor's client does, at whatever process is there, until all is claimed."""
    tx_key = TX_KEYS[number % len(TX_KEYS)]
    idle = 0
    while idle < 3 and not ended.is_set():
        consumer = Client(fleet.url(number + idle), secret)
        with suppress(httpx.HTTPError):
            page = consumer.ask(
                "/query", eventName=NAME, txKey=tx_key, since=0, page=number % 4 + 1, pageSize=25
            )
            rows = page["rows"]
            idle = 0 if page["total"] else idle + 1
            for row in rows:
                response = consumer.post("/init", key=row["key"], txKey=tx_key)
                if response.status_code != 200:
                    assert response.status_code in {409, 503}, response.text
                    continue
                claims.add(row["key"], tx_key)
                consumer.post("/transact", key=row["key"], txKey=tx_key, state="finished")
        consumer.close()


def emit(url: str, secret: str, messages: int) -> set[str]:
    producer = Client(url, secret)
    found = {producer.emit(NAME, {"n": n}) for n in range(messages)}
    producer.close()
    return found


def run(tmp_path: Path, messages: int, kills: int) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(postgres.fresh(lambda _: None, "empty_of_tests"))
        fleet = Fleet(stack, tmp_path, database)
        body = {"name": "k", "environment": "test", "api": "buildable"}
        _, made = call(fleet.url(0), "/v1/api_keys", body, key=ADMIN_KEY)
        secret = made["key"]
        emitted = emit(fleet.url(0), secret, messages)
        claims, ended = Claims(), threading.Event()
        with ThreadPoolExecutor(CONSUMERS) as pool:
            running = [
                pool.submit(consume, fleet, secret, number, claims, ended)
                for number in range(CONSUMERS)
            ]
            try:
                for turn in range(kills):
                    fleet.kill(1 + turn % (PROCESSES - 1))
                for one in running:
                    one.result(1_200)
            finally:
                ended.set()
        judge(database, emitted, claims)
        assert fleet.kills == kills


def judge(database: str, emitted: set[str], claims: Claims) -> None:
    """Hold what consumers were told against the database."""
    with psycopg.connect(database) as connection:
        query = "SELECT event_id, tx_key, claim FROM transactions"
        rows: list[tuple[Any, str, int]] = connection.execute(query).fetchall()
    kept = {(row[0].hex, row[1]): row[2] for row in rows}
    assert set(kept) == {(key, tx_key) for key in emitted for tx_key in TX_KEYS}
    assert set(kept.values()) == {1}
    assert [place for place, count in claims.won.items() if count > 1] == []
    assert set(claims.won) <= set(kept)
    # Whose answer was lost with its process, was claimed all the same.
    lost = len(kept) - len(claims.won)
    assert lost <= CONSUMERS * (PROCESSES + len(kept) // 1_000)


@pytest.mark.long
def test_each_message_is_had_once_under_each_key(tmp_path: Path) -> None:
    run(tmp_path, messages=300, kills=2)


def test_a_server_that_stops_answers_those_who_wait(tmp_path: Path) -> None:
    with server(tmp_path) as (program, url), ThreadPoolExecutor(1) as pool:
        path = "/v1/unclaimed_events?tx_key=k&wait_s=30"
        waiting = pool.submit(call, url, path)
        # Told of by the server: a request that was begun is counted.
        eventually(lambda: "waypost_connections 2" in call(url, "/metrics")[1])
        assert program.stop() == 0
        assert waiting.result(60) == (200, {"data": [], "has_more": False})
