"""What the documents tell people to type works, as it stands there."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from tests.conventions import tree
from tests.support import postgres
from tests.support.doctor import found_bad
from tests.support.program import PATIENCE_S, environment
from waypost.model import ids
from waypost.policy.egress import EgressRules
from waypost.policy.failure_settings import FailureHandlingIn, faults
from waypost.policy.format import NATIVE_FORMATS
from waypost.policy.notice import GivenUp, render
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.telemetry import MEASURES

DOCS = tree.ROOT / "docs"
BLOCK = re.compile(r"^( *)```(sh|python|sql|json|text)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_PAGE_S = 3 * PATIENCE_S
"""A page starts a program for each of its lines."""

RUNS_ON = re.compile(r"\b(waypost serve( --processes \d)?|python receivers?\.py)$")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def blocks(page: str, language: str) -> list[str]:
    """Return a page's blocks of one language, as they are to be typed."""
    found = BLOCK.findall((DOCS / page).read_text("utf-8"))
    return [
        re.sub(rf"^{indent}", "", text, flags=re.MULTILINE).strip()
        for indent, kind, text in found
        if kind == language
    ]


class Terminal:
    """A folder, and a shell whose variables last; what runs on runs in the background."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = {"8080": str(free_port()), "9000": str(free_port())}
        programs = folder / "bin"
        programs.mkdir()
        for name, command in (("python", ""), ("waypost", "-m waypost")):
            script = programs / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
            script.chmod(0o755)
        self._environment = environment(
            PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
            WAYPOST_LISTEN=f"127.0.0.1:{self._ports['8080']}",
        )
        self._script = "set -eu\n"

    def own(self, text: str) -> str:
        """Return a text with ports that are free here."""
        for port, free in self._ports.items():
            text = text.replace(port, free)
        return text

    def type(self, block: str) -> None:
        """Add a block to what is typed."""
        if "pip install" in block:
            return
        block = self.own(block)
        if RUNS_ON.search(block):
            port = self._ports["8080" if "serve" in block else "9000"]
            answers = f"(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null"
            log = "server.log" if "serve" in block else "receiver.log"
            block = f"{block} >{log} 2>&1 &\nuntil {answers}; do sleep 0.05; done"
        self._script += block + "\n"

    def run(self, after: str = "") -> str:
        """Type it all; return what it prints."""
        script = "trap 'kill $(jobs -p) || :; wait || :' EXIT\n" + self._script + after
        with subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as shell:
            try:
                out, err = shell.communicate(timeout=_PAGE_S)
            finally:
                with suppress(ProcessLookupError):
                    # Where the shell was not given the time to end what runs in the background.
                    os.killpg(shell.pid, signal.SIGKILL)
        assert shell.returncode == 0, out + err
        return out


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_the_tutorial_ends_with_an_event_received(terminal: Terminal) -> None:
    (receiver,) = blocks("tutorial/first-event.md", "python")
    (terminal.folder / "receiver.py").write_text(terminal.own(receiver))
    for block in blocks("tutorial/first-event.md", "sh"):
        terminal.type(block)
    out = terminal.run('\nuntil grep -q "$EVENT" receiver.log; do sleep 0.05; done\n')
    assert '"duplicate":false' in out
    assert '"attempts"' in out or '"data"' in out


BESIDE_A_SERVER = (
    "rotate-a-secret.md",
    "back-up.md",
    "consume-events.md",
    "send-again.md",
    "find-an-event.md",
)


@pytest.mark.parametrize("page", [f"how-to/{name}" for name in BESIDE_A_SERVER])
def test_a_how_to_works_beside_a_running_server(terminal: Terminal, page: str) -> None:
    tutorial = blocks("tutorial/first-event.md", "sh")
    # All but its receiver.
    for block in (*tutorial[1:5], *tutorial[6:8]):
        terminal.type(block)
    for block in blocks(page, "sh"):
        terminal.type(block)
    out = terminal.run()
    assert not found_bad(out)


def test_the_how_to_of_transforms_shows_what_is_answered(terminal: Terminal) -> None:
    page = "how-to/transform-events.md"
    for block in blocks("tutorial/first-event.md", "sh")[1:5] + blocks(page, "sh"):
        terminal.type(block)
    out = terminal.run()
    answers = blocks(page, "json")
    assert len(answers) == 3
    for answer in answers:
        assert answer in out


def test_the_how_to_of_checks_ends_with_an_attempt(terminal: Terminal) -> None:
    page = "how-to/check-endpoints.md"
    (receiver,) = blocks(page, "python")
    (terminal.folder / "receiver.py").write_text(terminal.own(receiver))
    for block in blocks("tutorial/first-event.md", "sh")[1:5] + blocks(page, "sh"):
        terminal.type(block)
    out = terminal.run()
    assert '"status":"SUCCESS"' in out
    assert '"verification_status":{"state":"pending"' in out


def test_the_how_to_of_webhooks_ends_with_what_is_refused(terminal: Terminal) -> None:
    page = "how-to/receive-webhooks.md"
    for block in blocks("tutorial/first-event.md", "sh")[1:5] + blocks(page, "sh"):
        terminal.type(block)
    (told,) = blocks(page, "text")
    assert told in terminal.run()


def test_the_how_to_of_failing_receivers_ends_with_what_was_kept(terminal: Terminal) -> None:
    page = "how-to/when-receivers-fail.md"
    for block in blocks("tutorial/first-event.md", "sh")[1:5] + blocks(page, "sh"):
        terminal.type(block)
    out = terminal.run()
    (told,) = blocks(page, "text")[:1]
    _, found, after = out.rpartition(f"{told}\n")
    assert found
    assert '"suspended":false' in after


def test_the_how_to_of_order_ends_with_a_key_that_is_free(terminal: Terminal) -> None:
    page = "how-to/keep-order.md"
    for block in blocks("tutorial/first-event.md", "sh")[1:5] + blocks(page, "sh"):
        terminal.type(block)
    out = terminal.run(
        f'curl --silent "http://127.0.0.1:{terminal.own("8080")}/v1/event_subscriptions/'
        '$SUBSCRIPTION/blocked_keys" -H "Authorization: $KEY"\n'
    )
    _, found, after = out.rpartition(f"{blocks(page, 'text')[0]}\n")
    assert found, out
    assert '"card-7"' not in after


def test_the_tour_of_an_outage_ends_with_all_that_was_sent(terminal: Terminal) -> None:
    page = "how-to/a-receiver-goes-down.md"
    (receiver,) = blocks(page, "python")
    (terminal.folder / "receivers.py").write_text(terminal.own(receiver))
    for block in blocks("tutorial/first-event.md", "sh")[1:3] + blocks(page, "sh"):
        terminal.type(block)
    out = terminal.run()
    for name in ("breaker.opened", "subscription.suspended", "delivery.diverted"):
        assert f"waypost.{name} " in out
    assert "its failures have suspended the event subscription; unsuspend it" in out
    assert "\n0\n" in out, "nothing came twice"
    assert "waypost.subscription.recovered recovered_by=person" in out
    assert "state=done owed=1" in out


def test_the_page_of_failure_handling_shows_what_is_taken() -> None:
    example, notice = blocks("reference/failure-handling.md", "json")
    handling = msgspec.json.decode(example, type=FailureHandlingIn)
    assert list(faults(handling, EgressRules(), frozenset(NATIVE_FORMATS))) == []
    given_up = GivenUp(
        *(ids.FIRST, ids.FIRST, Outcome(OutcomeKind.FAILED, 503, b""), None, 0, 1),
        diverted=True,
        suspended=False,
    )
    assert list(msgspec.json.decode(notice)) == list(msgspec.json.decode(render(given_up)))


def test_the_page_of_filters_tells_what_is_answered(terminal: Terminal) -> None:
    for block in blocks("tutorial/first-event.md", "sh")[1:5]:
        terminal.type(block)
    for block in blocks("reference/filters.md", "sh"):
        terminal.type(block)
    page = (DOCS / "reference" / "filters.md").read_text("utf-8")
    told = re.search(r"```json answer\n(.*?)\n```", page, re.DOTALL)
    assert told is not None
    assert told[1] in terminal.run()


@pytest.fixture
def database() -> Iterator[postgres.Server]:
    """A server whose commits wait for the disk, as one for which the pages were written."""
    with postgres.running(durable=True) as server:
        yield server


def on(database: postgres.Server, text: str) -> str:
    """Return a text about the server of the pages, as one about this server."""
    return text.replace("db.example.com", f"127.0.0.1:{database.port}")


def run_sql(database: postgres.Server, block: str) -> None:
    database.execute(*(statement for statement in block.split(";") if statement.strip()))


def test_several_workers_run_on_postgresql(terminal: Terminal, database: postgres.Server) -> None:
    page = "how-to/run-on-postgresql.md"
    setting_up, *later = blocks(page, "sql")
    run_sql(database, setting_up)
    for block in blocks(page, "sh"):
        terminal.type(on(database, block))
    two = 'test "$(waypost workers --once | wc -l)" = 2'
    out = terminal.run(f"until {two}; do :; done\nwaypost doctor")
    assert not found_bad(out)
    for block in later:
        run_sql(database, block)


def test_a_file_grows_to_a_server(terminal: Terminal, database: postgres.Server) -> None:
    run_sql(database, blocks("how-to/run-on-postgresql.md", "sql")[0])
    terminal.type("waypost projects create --name acme > project")
    for block in blocks("how-to/grow-to-postgresql.md", "sh"):
        terminal.type(on(database, block))
    out = terminal.run('waypost projects list | grep "$(cat project)"')
    assert "acme" in out


def test_the_page_of_metrics_names_them_all() -> None:
    page = (DOCS / "reference" / "metrics.md").read_text("utf-8")
    told = set(re.findall(r"^\| `(waypost_\w+)", page, re.MULTILINE))
    assert told == {f"waypost_{one.name}{'_total' if one.grows else ''}" for one in MEASURES}


def test_the_page_of_commands_names_them_all() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "waypost", "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    commands = set(re.findall(r"^│ ([a-z][a-z-]*) ", done.stdout, re.MULTILINE))
    page = (DOCS / "reference" / "command-line.md").read_text("utf-8")
    told = set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))
    assert told == commands != set()
