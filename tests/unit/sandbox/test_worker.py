"""The worker: one call after the other, and whatever is wrong with one is an answer."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from waypost.sandbox import frames, worker
from waypost.sandbox.frames import Answer, Limits, Request

LIMITS = Limits(0.1, 16 * 1024 * 1024, 1000)


class Nothing:
    """Confines nothing: this process has still to be used."""

    def put_on(self, keep: int) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    before = signal.signal(signal.SIGVTALRM, worker._overrun)
    yield
    signal.signal(signal.SIGVTALRM, before)


def javascript(text: str) -> Request:
    source = f"function transform(payload) {{ {text} }}"
    return Request(frames.JAVASCRIPT, 0, source.encode(), b"{}")


def template(document: Any, payload: Any = None) -> Request:
    source = json.dumps(document).encode()
    return Request(frames.TEMPLATE, 0, source, json.dumps(payload).encode())


def fault(answer: Answer) -> tuple[str, str]:
    assert answer.kind == frames.ERROR
    error = json.loads(answer.beside)["error"]
    return error["kind"], error["message"]


FLATTENED = "{{ " + " | ".join(["[@, @][]"] * 40) + " }}"


@pytest.mark.parametrize(
    "request_, expected",
    [
        (javascript("return 'x'.repeat(999)"), ("result", "the payload is larger than 1000 bytes")),
        (
            javascript("return {headers: {a: 'x'.repeat(2e6)}}"),
            ("result", "the headers are too large"),
        ),
        (javascript("while (true) {}"), ("timeout", "InternalError: interrupted")),
        (template("{{ payload. }}"), ("compile", None)),
        (template(FLATTENED), ("timeout", "interrupted")),
        (
            Request(frames.TEMPLATE, frames.TEXT, b'"{{ payload }}"', b"\xff"),
            ("result", "the payload is neither JSON nor text in UTF-8"),
        ),
    ],
)
def test_what_goes_wrong_is_an_answer(request_: Request, expected: tuple[str, str | None]) -> None:
    kind, message = fault(worker.do(request_, LIMITS))
    assert kind == expected[0]
    assert expected[1] in {None, message}


def test_a_place_is_told_of_a_template() -> None:
    answer = worker.do(template({"a": "{{ payload. }}"}), LIMITS)
    assert json.loads(answer.beside)["error"]["place"] == "$.a"


@pytest.mark.parametrize(
    "error, expected",
    [
        (MemoryError(), ("memory", "out of memory")),
        (RecursionError(), ("result", "what it makes is nested too deeply")),
    ],
)
def test_a_template_that_takes_too_much(
    error: Exception, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_request: Request) -> Answer:
        raise error

    monkeypatch.setattr("waypost.sandbox.template.run", fail)
    assert fault(worker.do(template(1), LIMITS)) == expected


def test_it_serves_until_the_connection_ends() -> None:
    ours, theirs = socket.socketpair()
    answers: list[Answer | None] = []

    def ask() -> None:
        with ours:
            # The second comes in two parts.
            one, two = map(frames.pack_request, (javascript("return 5"), template([6])))
            ours.sendall(one + two[:7])
            answers.append(read(ours))
            ours.sendall(two[7:])
            answers.append(read(ours))

    asking = threading.Thread(target=ask)
    asking.start()
    with theirs:
        nothing: Any = Nothing()
        worker.serve(theirs.fileno(), LIMITS, nothing)
    asking.join()
    assert [answer and answer.payload for answer in answers] == [b"5", b"[6]"]
    assert all(answer and answer.took_us > 0 for answer in answers), answers
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)


def read(connection: socket.socket) -> Answer | None:
    size = frames.LENGTH.unpack(connection.recv(frames.LENGTH.size, socket.MSG_WAITALL))[0]
    return frames.unpack_answer(connection.recv(size, socket.MSG_WAITALL))


def test_it_ends_where_nobody_takes_the_answer() -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(frames.pack_request(javascript("return 5")))
    ours.close()
    nothing: Any = Nothing()
    with theirs, pytest.raises(SystemExit):
        worker.serve(theirs.fileno(), LIMITS, nothing)
