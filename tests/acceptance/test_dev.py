"""`waypost dev`, as a newcomer starts it."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import elsewhere
from tests.support.program import PATIENCE_S, Program, waypost
from waypost.model import ids


@contextmanager
def dev(folder: Path, *arguments: str, **settings: str) -> Iterator[Program]:
    program = Program(folder, "dev", *arguments, **settings)
    try:
        yield program
    finally:
        program.kill()


def delivered(line: str) -> bool:
    return "delivered" in line and "signature verified" in line


def test_a_first_event_is_accepted_and_delivered_by_itself(tmp_path: Path) -> None:
    with dev(tmp_path, "--listen", "127.0.0.1:0") as program:
        line = program.wait_for(delivered)
        told = "\n".join(program.lines)
        assert re.search(r"accepted\s+(evt_\S+)\s+card\.created", told)
        assert re.search(r"API docs\s+http://127\.0\.0\.1:\d+/docs", told)
        assert re.search(r"API key\s+wp_test_\S+", told)
        assert re.search(r"\d+\.\d ms after it came in", line)
        assert "\x1b" not in told, "no colours where nobody looks"
        program.signal(signal.SIGINT)
        assert program.end() == 0
        assert "1 accepted, 1 delivered" in program.lines[-1]


def test_the_curl_line_sends_another(tmp_path: Path) -> None:
    with dev(tmp_path, "--listen", "127.0.0.1:0") as program:
        program.wait_for(delivered)
        told = "\n".join(program.lines)
        command = re.search(r"curl .*?'\{.*?\}'", told, re.DOTALL)
        assert command is not None
        arguments = shlex.split(command[0].replace("\\\n", " "))
        done = subprocess.run(
            ["curl", "--silent", "--fail", *arguments[1:]],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        token = re.search(r"evt_[0-9a-f-]+", done.stdout)
        assert token is not None
        program.wait_for(lambda line: delivered(line) and token[0] in line)
        assert any("card.updated" in line for line in program.lines)


def test_as_lithic_the_snippet_makes_a_subscription_by_its_client(tmp_path: Path) -> None:
    with dev(tmp_path, "--as", "lithic", "--listen", "127.0.0.1:0") as program:
        program.wait_for(delivered)
        told = "\n".join(program.lines)
        snippet = told[told.index("  curl -s ") : told.index("Events, live")]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", snippet],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env=os.environ | {"PATH": path},
        )
        assert done.stdout.count("card_transaction.updated") == 2, "by curl, and by the client"
        assert re.search(r"^ep_\S+ whsec_\S+$", done.stdout, re.MULTILINE)


def test_as_buildable_the_snippet_takes_a_message(tmp_path: Path) -> None:
    with dev(tmp_path, "--as", "buildable", "--listen", "127.0.0.1:0") as program:
        program.wait_for(delivered)
        told = "\n".join(program.lines)
        assert re.search(r"API key\s+sk_test_1_\S+", told)
        snippet = told[told.index("  export ") : told.index("Events, live")]
        done = subprocess.run(
            ["bash", "-euc", snippet], capture_output=True, text=True, check=True, timeout=60
        )
        assert '{"status":"success","key":"' in done.stdout
        assert '"state":"processing"' in done.stdout
        assert '"endedAt":null' in done.stdout
        assert done.stdout.count('"state":"finished"') == 1


def test_as_convoy_the_snippet_replays_an_event(tmp_path: Path) -> None:
    with dev(tmp_path, "--as", "convoy", "--listen", "127.0.0.1:0") as program:
        program.wait_for(delivered)
        told = "\n".join(program.lines)
        assert re.search(r"API key\s+CO\.\S+", told)
        snippet = told[told.index("  ask() ") : told.index("Events, live")]
        done = subprocess.run(
            ["bash", "-euc", snippet], capture_output=True, text=True, check=True, timeout=60
        )
        assert "Endpoint event replayed successfully" in done.stdout
        assert done.stdout.count('"event_type":"invoice.paid"') > 2
        event = re.search(r'"uid":"([0-9A-Z]{26})","event_type":"invoice.paid"', done.stdout)
        assert event is not None
        token = ids.spell(ids.EVENT, ids.find_ulid(event[1]) or b"")
        program.wait_for(lambda line: delivered(line) and token in line)


def test_as_socotra_the_snippet_finds_what_a_webhook_has_missed(tmp_path: Path) -> None:
    with dev(tmp_path, "--as", "socotra", "--listen", "127.0.0.1:0") as program:
        program.wait_for(delivered)
        told = "\n".join(program.lines)
        assert re.search(r"API key\s+wp_socotra_test_\S+", told)
        snippet = told[told.index("  ask()") : told.index("Events, live")]
        done = subprocess.run(
            ["bash", "-euc", snippet], capture_output=True, text=True, check=True, timeout=60
        )
        assert '"type":"policy.quote.create"' in done.stdout
        assert '"failureTrigger":"timeout"' in done.stdout
        assert '"suspend":true' in done.stdout
        assert done.stdout.endswith("{}\n")


def test_as_stedi_the_snippet_makes_a_destination(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    python = elsewhere.client(pytestconfig, elsewhere.STEDI, elsewhere.STEDI_NEEDS, tmp_path)
    with dev(tmp_path, "--as", "stedi", "--listen", "127.0.0.1:0") as program:
        program.wait_for(delivered)
        told = "\n".join(program.lines)
        assert re.search(r"API key\s+wp_stedi_test_\S+", told)
        snippet = told[told.index("  ask() {") : told.index("Events, live")]
        if python is None:
            snippet = snippet[: snippet.index("  # The same by")]
        path = os.environ["PATH"] if python is None else f"{python.parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", snippet],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env=os.environ | {"PATH": path},
        )
        if python is not None:
            assert re.search(
                r"^evt_\S+ enrollment.activated (PENDING|DELIVERED)$", done.stdout, re.MULTILINE
            )
            assert re.search(r"^dst_\S+ http://127.0.0.1:3000/hook$", done.stdout, re.MULTILINE)
        assert '"eventType":"enrollment.activated"' in done.stdout
        assert '"object":"v1.event"' in done.stdout
        assert done.stdout.count('"signingSecret":"whsec_') == 2
        assert '"previousSecretExpiresAt"' in done.stdout


def test_a_port_that_is_taken_is_replaced_by_a_free_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with dev(tmp_path, "--listen", f"127.0.0.1:{port}") as program:
            program.wait_for(delivered)
            assert "taking a free port instead" in program.lines[0]
            assert f":{port}/docs" not in "\n".join(program.lines)


def test_each_run_is_fresh(tmp_path: Path) -> None:
    for _ in range(2):
        with dev(tmp_path, "--listen", "127.0.0.1:0") as program:
            program.wait_for(delivered)
            program.signal(signal.SIGTERM)
            assert program.end() == 0
            assert "1 accepted, 1 delivered" in program.lines[-1]


def test_a_second_one_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with dev(tmp_path, "--listen", "127.0.0.1:0") as program:
        program.wait_for(delivered)
        second = waypost(tmp_path, "dev", "--listen", "127.0.0.1:0")
        assert second.status == 1
        assert f"in use by process {program.pid}" in second.err


def test_the_database_of_a_real_server_is_left_alone(tmp_path: Path) -> None:
    waypost(tmp_path, "keys", "create", "--name", "mine")
    before = (tmp_path / ".waypost" / "waypost.db").read_bytes()
    with dev(tmp_path, "--listen", "127.0.0.1:0") as program:
        program.wait_for(delivered)
    assert (tmp_path / ".waypost" / "waypost.db").read_bytes() == before
