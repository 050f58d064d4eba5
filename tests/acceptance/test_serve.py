"""`waypost serve`: from its first start to its stop, as a process of its own."""

import json
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.program import Program, call, server, waypost
from tests.support.receiver import Request, receiver

EVENT = {"event_type": "card.created", "payload": {"n": 1}}


def subscribe(url: str, receiver_url: str) -> str:
    status, made = call(url, "/v1/event_subscriptions", {"url": receiver_url})
    assert status in {200, 201}, made
    return str(made["token"])


def post(url: str, count: int) -> list[str]:
    answers = [call(url, "/v1/events", EVENT) for _ in range(count)]
    assert {status for status, _ in answers} == {202}
    return [event["token"] for _, event in answers]


def test_a_first_start_makes_everything_and_a_stop_leaves_it_in_order(tmp_path: Path) -> None:
    with server(tmp_path) as (program, url):
        assert call(url, "/readyz")[0] == 200
        assert call(url, "/healthz")[0] == 200
        folder = tmp_path / ".waypost"
        assert folder.stat().st_mode & 0o777 == 0o700
        for name in ("waypost.db", "waypost.db.key", "waypost.db.sock", "waypost.db.lock"):
            assert (folder / name).stat().st_mode & 0o777 == 0o600
        assert program.stop() == 0
        assert not (folder / "waypost.db.sock").exists()
    with server(tmp_path) as (program, url):
        assert call(url, "/readyz")[0] == 200
        assert program.stop() == 0
    log = "\n".join(program.lines)
    assert "database_migrated" not in log
    assert "database_sound" not in log, "a clean stop needs no inspection"


def test_an_event_is_delivered_and_counted(tmp_path: Path) -> None:
    with receiver() as received, server(tmp_path) as (_, url):
        subscribe(url, received.url)
        (token,) = post(url, 1)
        (request,) = received.wait_for(1)
        assert request.headers["webhook-id"] == token
        assert json.loads(request.body) == EVENT["payload"]
        page = call(url, "/metrics")[1]
        assert "waypost_events_accepted_total 1.0" in page
        assert 'waypost_deliveries_total{state="failed"} 0.0' in page


def test_a_second_process_is_refused_and_told_who_has_the_database(tmp_path: Path) -> None:
    with server(tmp_path) as (program, url):
        second = waypost(tmp_path, "serve", "--listen", "127.0.0.1:0")
        assert second.status == 1
        assert f"in use by process {program.pid}" in second.err
        assert "Traceback" not in second.err
        assert call(url, "/readyz")[0] == 200


def test_a_stop_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    accepted: list[str] = []

    def produce(url: str) -> None:
        while True:
            try:
                status, event = call(url, "/v1/events", EVENT)
            except OSError:
                return
            if status != 202:
                return
            accepted.append(event["token"])

    with receiver() as received:
        received.gate.clear()
        with server(tmp_path) as (program, url):
            subscribe(url, received.url)
            producers = [threading.Thread(target=produce, args=(url,)) for _ in range(4)]
            for producer in producers:
                producer.start()
            received.wait_for(20)
            program.signal(signal.SIGTERM)
            program.event("server_draining")
            received.gate.set()
            assert program.end() == 0
            for producer in producers:
                producer.join()
        assert len(accepted) >= 20
        with server(tmp_path) as (program, _):
            deadline = time.monotonic() + 30
            while set(accepted) - ids_of(received.requests) and time.monotonic() < deadline:
                received.wait_for(len(received.requests) + 1)
            assert program.stop() == 0
        counts = Counter(one.headers["webhook-id"] for one in received.requests)
    assert set(accepted) - set(counts) == set(), "lost"
    assert {token: n for token, n in counts.items() if n > 1} == {}, "doubled"


def ids_of(requests: list[Request]) -> set[str]:
    return {request.headers["webhook-id"] for request in requests}


def test_a_receiver_that_hangs_does_not_hold_a_stop_for_ever(tmp_path: Path) -> None:
    with receiver() as received:
        received.gate.clear()
        with server(tmp_path, WAYPOST_DRAIN_TIMEOUT="200ms") as (program, url):
            subscribe(url, received.url)
            (token,) = post(url, 1)
            received.wait_for(1)
            assert program.stop() == 0
        received.gate.set()
        with server(tmp_path):
            again = received.wait_for(2)
        assert [one.headers["webhook-id"] for one in again] == [token, token]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: int) -> None:
    with receiver() as received:
        received.gate.clear()
        with server(tmp_path) as (program, url):
            subscribe(url, received.url)
            post(url, 1)
            received.wait_for(1)
            program.signal(number)
            # The listener is closed and the attempt is waited for.
            while True:
                try:
                    call(url, "/healthz")
                except OSError:
                    break
            program.signal(number)
            assert program.end() == 128 + number


def test_an_unclean_stop_is_looked_into(tmp_path: Path) -> None:
    with server(tmp_path) as (program, url):
        post(url, 3)
        program.kill()
    with server(tmp_path) as (program, url):
        # It is looked into beside the start, of which nobody knows which one ends first.
        program.tells("database_sound")
        assert len(call(url, "/v1/events")[1]["data"]) == 3
        assert program.stop() == 0


def test_settings_come_from_a_file_and_strange_variables_are_told(tmp_path: Path) -> None:
    (tmp_path / "waypost.toml").write_text(
        'database_url = "sqlite:///elsewhere.db"\nmax_event_bytes = 2000\n'
    )
    with server(tmp_path, WAYPOST_PORT="tcp://10.0.0.1:80") as (program, url):
        assert (tmp_path / "elsewhere.db").exists()
        large = {"event_type": "a", "payload": "x" * 2_000}
        assert call(url, "/v1/events", large)[0] == 413
        assert any("WAYPOST_PORT" in line for line in program.lines)


@pytest.mark.parametrize(
    "settings,reason",
    [
        ({"WAYPOST_DATABASE_URL": "mysql://h/db"}, "names the database 'mysql'"),
        ({"WAYPOST_LISTEN": "nowhere"}, "WAYPOST_LISTEN is not host:port"),
        ({"WAYPOST_SECRET_KEY": "c2hvcnQ="}, "holds 5 bytes instead of 32"),
    ],
)
def test_what_it_can_not_start_with_is_told_in_a_line(
    tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    done = waypost(tmp_path, "serve", **settings)
    assert done.status == 2
    assert reason in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = waypost(tmp_path, "serve", "--listen", address)
    assert done.status == 2
    assert f"can't listen on {address}" in done.err
    assert not (tmp_path / ".waypost").exists(), "nothing was begun"


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    assert waypost(tmp_path, "migrate").status == 0
    connection = sqlite3.connect(tmp_path / ".waypost" / "waypost.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999_later'")
    connection.commit()
    connection.close()
    done = waypost(tmp_path, "serve", "--listen", "127.0.0.1:0")
    assert done.status == 2
    assert "'9999_later'" in done.err
    assert "written by a newer one" in done.err


def test_another_secret_key_is_refused(tmp_path: Path) -> None:
    assert waypost(tmp_path, "keys", "create", "--name", "a").status == 0
    (tmp_path / ".waypost" / "waypost.db.key").unlink()
    done = waypost(tmp_path, "serve", "--listen", "127.0.0.1:0")
    assert done.status == 2
    assert "secret key of this database" in done.err


def test_intake_stops_before_the_disk_is_full_and_reading_goes_on(tmp_path: Path) -> None:
    with server(tmp_path, WAYPOST_DISK_RESERVE="1000000000GiB") as (program, url):
        status, refusal = call(url, "/v1/events", EVENT)
        assert status == 507
        assert "disk" in refusal["message"]
        assert call(url, "/v1/events")[0] == 200
        status, ready = call(url, "/readyz")
        assert status == 503
        assert "disk" in ready["checks"]
        assert program.stop() == 0


def test_a_path_too_long_for_a_socket_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 90) / ("y" * 90)
    folder.mkdir(parents=True)
    with server(folder) as (program, url):
        done = waypost(folder, "keys", "create", "--name", "a")
        assert done.status == 0, done.err
        assert call(url, "/v1/events", key=done.out.strip())[0] == 200
        assert program.stop() == 0


def test_a_signal_while_it_starts_is_not_lost(tmp_path: Path) -> None:
    program = Program(tmp_path, "serve", WAYPOST_LISTEN="127.0.0.1:0", WAYPOST_LOG_FORMAT="json")
    try:
        # The first line of the log: the network is not yet listened to.
        program.event("database_migrated")
        program.signal(signal.SIGINT)
        assert program.end() == 0
        assert "server_stopped" in program.lines[-1]
    finally:
        program.kill()
