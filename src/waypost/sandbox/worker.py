"""A worker: reads a call from its socket, does it, writes the answer, until the socket ends.

It is forked ready to work, confined before it reads its first call, and may die at any moment: by
its own doing, or because the kernel ends it when a call has used up its time. That is what ends
loops inside the engine at which the engine itself does not look up.
"""

import os
import signal
import sys
import time
from types import FrameType
from typing import Final

from waypost.sandbox import frames, javascript, template
from waypost.sandbox.confine import Confinement
from waypost.sandbox.frames import Answer, Limits, Request
from waypost.sandbox.javascript import failure
from waypost.sandbox.template import BadTemplate

BESIDE_MAX: Final = 1024 * 1024
"""Of headers and log, bytes; far more than is good for anything."""

_SLACK: Final = 1.5
_SLACK_S: Final = 0.05
"""A call that the engine can't stop is ended by the kernel this much later."""


class _Overran(BaseException):
    """A template has used up its time."""


def serve(connection: int, limits: Limits, confinement: Confinement) -> None:
    """Do calls until the other side closes the connection.

    Args:
        connection: a socket; every other open file is closed.
        limits: of each call.
        confinement: put on first.
    """
    signal.signal(signal.SIGVTALRM, _overrun)
    confinement.put_on(connection)
    javascript.prepare()
    while body := _read_frame(connection):
        signal.setitimer(signal.ITIMER_PROF, limits.cpu_s * _SLACK + _SLACK_S)
        # Of the thread: the process's clock goes by coarse steps while the timer runs.
        started_ns = time.thread_time_ns()
        answer = do(frames.unpack_request(body), limits)
        took_us = (time.thread_time_ns() - started_ns) // 1000
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(connection, frames.pack_answer(answer._replace(took_us=took_us)))
        javascript.prepare()


def do(request: Request, limits: Limits) -> Answer:
    """Do one call; whatever is wrong with it is an answer."""
    try:
        if request.language == frames.JAVASCRIPT:
            answer = javascript.run(request, limits.cpu_s, limits.memory_bytes)
        else:
            answer = _render(request, limits.cpu_s)
    except MemoryError:
        return failure("memory", "out of memory")
    if len(answer.payload) > limits.payload_bytes:
        return failure("result", f"the payload is larger than {limits.payload_bytes} bytes")
    if len(answer.beside) > BESIDE_MAX:
        return failure("result", "the headers are too large")
    return answer


def _render(request: Request, cpu_s: float) -> Answer:
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
        try:
            return template.run(request)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except _Overran:
        return failure("timeout", "interrupted")
    except BadTemplate as error:
        return failure("compile", error.message, place=error.place)
    except RecursionError:
        return failure("result", "what it makes is nested too deeply")
    except UnicodeDecodeError:
        return failure("result", "the payload is neither JSON nor text in UTF-8")


def _overrun(_number: int, _frame: FrameType | None) -> None:
    raise _Overran


def _read_frame(connection: int) -> bytes:
    """Return the next frame; nothing at the end."""
    head = _read(connection, frames.LENGTH.size)
    return _read(connection, frames.LENGTH.unpack(head)[0]) if head else b""


def _read(connection: int, size: int) -> bytes:
    parts = []
    while size and (part := os.read(connection, size)):
        parts.append(part)
        size -= len(part)
    return b"" if size else b"".join(parts)


def _write(connection: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(connection, rest) :]
        except BrokenPipeError:
            sys.exit(0)
