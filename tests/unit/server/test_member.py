"""A process of a group, from its orders on; what it does then is tried in the acceptance tests."""

import base64
import logging
import pickle
import socket
import sys
from collections.abc import Iterator

import pytest
import structlog

from waypost import config
from waypost.server import member
from waypost.server.handover import Orders

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def run(ours: socket.socket, theirs: socket.socket, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["member", str(theirs.detach())])
    with ours:
        return member.main()


def test_without_a_supervisor_it_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    ours.shutdown(socket.SHUT_WR)
    assert run(ours, theirs, monkeypatch) == 0


def test_a_database_that_can_not_be_used_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = socket.socketpair()
    settings = config.load(
        {"database_url": "postgresql://u:hidden@127.0.0.1:1/d", "secret_key": KEY}, environment={}
    ).config
    content = pickle.dumps(Orders(settings, 1, 1, 8080, 0))
    ours.sendall(len(content).to_bytes(4, "big") + content)
    assert run(ours, theirs, monkeypatch) == 2
    said = capsys.readouterr().err
    assert said.startswith("waypost: the database postgresql://u:***@127.0.0.1:1/d can't be used")
    assert said.count("\n") == 1
