"""`waypost serve` on PostgreSQL: several processes, roles, and what forbids a start."""

import base64
import json
import os
import re
import signal
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import postgres
from tests.support.doctor import found_bad
from tests.support.program import Program, call, server, waypost
from tests.support.receiver import receiver
from tests.support.site import eventually
from waypost.clock import SystemClock
from waypost.storage.migrations.upgrade import upgrade_shared
from waypost.storage.postgres.connection import connect

KEY = base64.b64encode(bytes(range(32))).decode()
EVENT = {"event_type": "card.created", "payload": {"n": 1}}


def migrate(url: str) -> None:
    upgrade_shared(lambda: connect(url), SystemClock().now_us())


@pytest.fixture
def url() -> Iterator[str]:
    """A database that `waypost migrate` has seen."""
    with postgres.fresh(migrate, "migrated_by_days_of_tests") as made:
        yield made


@contextmanager
def serving(folder: Path, url: str, *arguments: str, **more: str) -> Iterator[tuple[Program, str]]:
    settings = {"WAYPOST_DATABASE_URL": url, "WAYPOST_SECRET_KEY": KEY, "WAYPOST_LEASE": "2s"}
    with server(folder, *arguments, **(settings | more)) as running:
        yield running


def subscribe(server_url: str, receiver_url: str) -> str:
    status, made = call(server_url, "/v1/event_subscriptions", {"url": receiver_url})
    assert status in {200, 201}, made
    return str(made["token"])


def post(server_url: str, count: int) -> set[str]:
    answers = [call(server_url, "/v1/events", EVENT) for _ in range(count)]
    assert {status for status, _ in answers} == {202}
    return {event["token"] for _, event in answers}


def ids_of(requests: list[Any]) -> set[str]:
    return {one.headers["webhook-id"] for one in requests}


def started(program: Program) -> dict[int, int]:
    """Return the processes of a group, by their numbers."""
    entries = [json.loads(line) for line in program.lines if '"process_started"' in line]
    return {entry["process"]: entry["pid"] for entry in entries}


def accepted(server_url: str) -> float:
    """Return how many events a server has accepted, by its metrics."""
    page = call(server_url, "/metrics")[1]
    count = re.search(r"^waypost_events_accepted_total ([\d.]+)$", page, re.MULTILINE)
    assert count is not None
    return float(count[1])


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_two_processes_share_the_work_and_one_that_is_killed_is_replaced(
    tmp_path: Path, url: str
) -> None:
    with receiver() as received, serving(tmp_path, url, "--processes", "2") as (program, at):
        for _ in range(8):
            subscribe(at, received.url)
        tokens = post(at, 10)
        received.wait_for(80)
        assert ids_of(received.requests) == tokens
        # Each process tells the others once a second.
        eventually(lambda: accepted(at), lambda count: count == 10)
        pids = started(program)
        os.kill(pids[1], signal.SIGKILL)
        assert program.event("process_died")["process"] == 1
        assert program.event("process_started")["process"] == 1
        more = post(at, 10)
        received.wait_for(160)
        assert ids_of(received.requests) == tokens | more
        # What the dead one had counted is not forgotten.
        eventually(lambda: accepted(at), lambda count: count == 20)
        assert program.stop() == 0
        assert all(is_gone(pid) for pid in started(program).values())


def test_two_processes_keep_to_one_rate_and_so_does_the_next_owner(
    tmp_path: Path, url: str
) -> None:
    with receiver() as received, serving(tmp_path, url, "--processes", "2") as (program, at):
        limit = {"count": 20, "per_s": 1, "burst": 4}
        for event_type in ("a", "b", "c", "d"):
            status, made = call(
                at,
                "/v1/event_subscriptions",
                {"url": f"{received.url}?{event_type}", "rate_limit": limit},
            )
            assert status == 201, made
        post(at, 40)
        received.wait_for(40)
        # Whoever owns them from now on begins with an empty bucket.
        os.kill(started(program)[1], signal.SIGKILL)
        received.wait_for(160)
        by_target: dict[str, list[float]] = {}
        for request in received.requests:
            by_target.setdefault(request.target, []).append(request.at_s)
        assert len(by_target) == 4
        for times in by_target.values():
            times.sort()
            for first, begin_s in enumerate(times):
                for last in range(first, len(times)):
                    allowed = 4 + 20 * (times[last] - begin_s + 0.3)
                    assert last - first + 1 <= allowed
        assert program.stop() == 0


def test_a_stop_of_a_group_loses_nothing_and_doubles_nothing(tmp_path: Path, url: str) -> None:
    with receiver() as received:
        received.gate.clear()
        with serving(tmp_path, url, "--processes", "2") as (program, at):
            subscribe(at, received.url)
            tokens = post(at, 10)
            received.wait_for(1)
            program.signal(signal.SIGTERM)
            program.event("server_draining")
            with pytest.raises(OSError, match="refused"):
                call(at, "/readyz")
            received.gate.set()
            assert program.end() == 0
        with serving(tmp_path, url, "--processes", "2") as (program, _):
            received.wait_for(10)
            assert program.stop() == 0
        counts = Counter(one.headers["webhook-id"] for one in received.requests)
    assert set(counts) == tokens
    assert set(counts.values()) == {1}


def test_processes_without_their_supervisor_drain_and_end(tmp_path: Path, url: str) -> None:
    with serving(tmp_path, url, "--processes", "2") as (program, _):
        assert len(started(program)) == 2
        program.signal(signal.SIGKILL)
        # They hold the pipe that is read here until they have ended.
        program.end()
        assert sum('"process_stopped"' in line for line in program.lines) == 2


def test_a_second_signal_ends_a_group_at_once(tmp_path: Path, url: str) -> None:
    with receiver() as received:
        received.gate.clear()
        with serving(tmp_path, url, "--processes", "2") as (program, at):
            subscribe(at, received.url)
            post(at, 1)
            received.wait_for(1)
            program.signal(signal.SIGINT)
            program.event("server_draining")
            program.signal(signal.SIGINT)
            assert program.end() == 128 + signal.SIGINT
        received.gate.set()


def test_one_accepts_and_another_delivers(tmp_path: Path, url: str) -> None:
    with receiver() as received, serving(tmp_path, url, "--role", "api") as (api, at):
        subscribe(at, received.url)
        tokens = post(at, 3)
        assert call(at, "/readyz")[0] == 200
        with serving(tmp_path, url, "--role", "deliver") as (deliver, other):
            received.wait_for(3)
            tokens |= post(at, 3)
            received.wait_for(6)
            assert ids_of(received.requests) == tokens
            assert call(other, "/readyz")[0] == 200
            assert call(other, "/healthz")[0] == 200
            assert "waypost_deliveries_total" in call(other, "/metrics")[1]
            assert call(other, "/v1/events", EVENT)[0] == 404
            assert call(other, "/v1/projects")[0] == 404
            listed = waypost(tmp_path, "workers", "--json", WAYPOST_DATABASE_URL=url, COLUMNS="200")
            workers = {one["role"]: one for one in map(json.loads, listed.out.splitlines())}
            assert len(workers["deliver"]["shards"]) == 256
            assert workers["api"]["shards"] == []
            assert deliver.stop() == 0
        assert api.stop() == 0


def test_a_key_that_is_made_by_a_command_works_in_every_process(tmp_path: Path, url: str) -> None:
    settings = {"WAYPOST_DATABASE_URL": url, "WAYPOST_SECRET_KEY": KEY}
    with serving(tmp_path, url, "--processes", "2") as (_, at):
        made = waypost(tmp_path, "keys", "create", "--name", "a", **settings)
        assert made.status == 0, made.err
        key = made.out.strip()
        answers: list[int] = []
        # Each process looks four times a second whether something has changed.
        while answers[-8:] != [202] * 8:
            answers.append(call(at, "/v1/events", EVENT, key=key)[0])
            assert len(answers) < 2_000
        listed = waypost(tmp_path, "keys", "list", **settings)
        (token,) = re.findall(r"key_\S+", listed.out)
        assert waypost(tmp_path, "keys", "revoke", token, **settings).status == 0
        while answers[-8:] != [401] * 8:
            answers.append(call(at, "/v1/events", EVENT, key=key)[0])
            assert len(answers) < 4_000


def test_a_server_outlives_its_database(tmp_path: Path) -> None:
    # A crash takes from a server that is not durable what it has committed last.
    with postgres.running(durable=True) as database:
        migrate(database.url())
        with receiver() as received, serving(tmp_path, database.url()) as (program, at):
            subscribe(at, received.url)
            tokens = post(at, 1)
            received.wait_for(1)
            database.stop(signal.SIGQUIT)
            program.event("configuration_unconfirmed")
            status, answer = eventually(lambda: call(at, "/readyz"), lambda found: found[0] != 200)
            assert status == 503
            assert "does not answer" in answer["checks"]["database"]
            assert call(at, "/v1/events", EVENT)[0] == 503
            assert call(at, "/healthz")[0] == 200
            database.start()
            eventually(lambda: call(at, "/readyz")[0], lambda status: status == 200)
            tokens |= post(at, 1)
            received.wait_for(2)
            assert ids_of(received.requests) == tokens
            assert program.stop() == 0


def refused(folder: Path, *arguments: str, **settings: str) -> str:
    given = {"WAYPOST_SECRET_KEY": KEY, "WAYPOST_LISTEN": "127.0.0.1:0"} | settings
    done = waypost(folder, "serve", *arguments, **given)
    lines = done.err.splitlines()
    assert done.status == 2, done.err
    assert "Traceback" not in done.err
    assert lines[-1].startswith("waypost: "), done.err
    assert "hidden" not in done.err
    return lines[-1]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_what_forbids_a_start_is_one_line_with_what_to_do(
    tmp_path: Path, url: str, processes: str
) -> None:
    base = url.rpartition("/")[0].replace("postgres@", "postgres:hidden@")
    for place, words in {
        "postgresql://u:hidden@127.0.0.1:1/d": "start it, or name its host and port",
        "postgresql://u:hidden@127.0.0.1/d#x": "write @ as %40",
        f"{base}/none_of_that_name": "make it with CREATE DATABASE",
        f"{base}/postgres": "run `waypost migrate`",
        url.replace("//postgres@", "//nobody_of_that_name:hidden@"): "CREATE ROLE",
    }.items():
        line = refused(tmp_path, "--processes", processes, WAYPOST_DATABASE_URL=place)
        assert words in line


def test_a_group_on_a_file_is_refused(tmp_path: Path) -> None:
    line = refused(tmp_path, "--processes", "2", WAYPOST_DATABASE_URL="sqlite:///w.db")
    assert "--processes 2 needs PostgreSQL" in line
    assert list(tmp_path.iterdir()) == []


def test_a_group_whose_address_is_taken_is_refused(tmp_path: Path, url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        for processes in ("1", "2"):
            line = refused(
                tmp_path,
                *("--processes", processes),
                WAYPOST_DATABASE_URL=url,
                WAYPOST_LISTEN=listen,
            )
            assert f"can't listen on {listen}" in line


def test_a_clock_that_is_off_is_refused(tmp_path: Path, url: str) -> None:
    wrapper = tmp_path / "late.py"
    wrapper.write_text(
        "import time\n"
        "right = time.time_ns\n"
        "time.time_ns = lambda: right() - 90_000_000_000\n"
        "from waypost.cli import main\n"
        "main()\n"
    )
    program = Program(
        tmp_path,
        *("serve", "--listen", "127.0.0.1:0"),
        command=(sys.executable, str(wrapper)),
        WAYPOST_DATABASE_URL=url,
        WAYPOST_SECRET_KEY=KEY,
    )
    assert program.end() == 2
    assert "clock is 90 seconds behind the database server's" in program.lines[-1]


def test_another_key_than_the_database_s_is_refused(tmp_path: Path, url: str) -> None:
    settings = {"WAYPOST_DATABASE_URL": url, "WAYPOST_SECRET_KEY": KEY}
    assert waypost(tmp_path, "projects", "list", **settings).status == 0
    other = base64.b64encode(bytes(range(1, 33))).decode()
    line = refused(tmp_path, WAYPOST_DATABASE_URL=url, WAYPOST_SECRET_KEY=other)
    assert "is not the one that this database was written under" in line


def test_a_migration_beside_another_waits_and_finds_nothing_to_do(tmp_path: Path) -> None:
    with postgres.fresh(lambda _: None, "empty_of_tests") as url:
        dry = waypost(tmp_path, "migrate", "--dry-run", WAYPOST_DATABASE_URL=url)
        assert dry.status == 0
        assert "CREATE TABLE events" in dry.out
        both = [Program(tmp_path, "migrate", WAYPOST_DATABASE_URL=url) for _ in range(2)]
        assert [program.end() for program in both] == [0, 0]
        again = waypost(tmp_path, "migrate", WAYPOST_DATABASE_URL=url)
        assert "is up to date" in again.out
        doctor = waypost(
            tmp_path,
            "doctor",
            WAYPOST_DATABASE_URL=url.replace("postgres@", "postgres:hidden@"),
            WAYPOST_SECRET_KEY=KEY,
        )
        (durability,) = found_bad(doctor.out)
        assert durability.startswith("bad  durability: fsync is off")
        assert "hidden" not in doctor.out


def test_a_backup_of_a_server_is_its_own_matter(tmp_path: Path, url: str) -> None:
    done = waypost(tmp_path, "backup", "x", WAYPOST_DATABASE_URL=url)
    assert done.status == 2
    assert "use pg_dump" in done.err


def test_a_database_grows_up(tmp_path: Path) -> None:
    """From a file, by a copy that is killed, to a server that goes on with what was owed."""
    with (
        postgres.fresh(lambda _: None, "empty_of_tests") as url,
        receiver() as received,
    ):
        with server(tmp_path) as (program, at):
            token = subscribe(at, received.url)
            first = post(at, 5)
            received.wait_for(5)
            received.gate.clear()
            owed = post(at, 20)
            secret = call(at, f"/v1/event_subscriptions/{token}/secret")[1]["secret"]
            refusal = copy(tmp_path, url)
            assert refusal.end() == 1
            assert f"in use by process {program.pid}" in refusal.lines[-1]
            program.kill()
            received.gate.set()
        seen = len(received.requests)
        killed = copy(tmp_path, url)
        killed.wait_for(lambda line: "is up to date" in line)
        killed.kill()
        done = copy(tmp_path, url)
        assert done.end() == 0, done.lines
        assert any("are copied, and read back as they were" in line for line in done.lines)
        key = (tmp_path / ".waypost" / "waypost.db.key").read_text().strip()
        with serving(tmp_path, url, WAYPOST_SECRET_KEY=key) as (_, at):
            received.wait_for(seen + 1)
            assert call(at, f"/v1/event_subscriptions/{token}/secret")[1]["secret"] == secret
            for event in first | owed:
                assert call(at, f"/v1/events/{event}")[0] == 200
            while ids_of(received.requests) != first | owed:
                received.wait_for(len(received.requests) + 1)


def copy(folder: Path, url: str) -> Program:
    return Program(folder, "copy", "--from", "sqlite:///.waypost/waypost.db", "--to", url)
