"""The log of sends: what each worker puts on the wire, when, and as whose owner.

Written by the worker itself, just before it sends: one line a try.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tests.torture.crash_points import patch
from waypost.engine.dispatcher import Dispatcher

_NAME = "sends-{}.jsonl"


class Send(msgspec.Struct, frozen=True, array_like=True):
    """One try.

    Attributes:
        worker: the process.
        subscription: its id, in hexadecimal digits.
        delivery: likewise.
        shard: the subscription's shard.
        epoch: the shard's epoch, as the worker knows it.
        at: seconds of the machine's monotonic clock.
    """

    worker: int
    subscription: str
    delivery: str
    shard: int
    epoch: int
    at: float


def log_to(folder: Path) -> None:
    """Have the product of this process write down what it sends."""
    worker = os.getpid()
    file = (folder / _NAME.format(worker)).open("ab", buffering=0)
    inner = Dispatcher._send

    def patched(self: Dispatcher, receiver: Any, work: Any, *rest: Any) -> None:
        send = Send(
            worker,
            receiver.subscription.id.hex(),
            work.id.hex(),
            receiver.shard,
            receiver.epoch,
            time.monotonic(),
        )
        file.write(msgspec.json.encode(send) + b"\n")
        inner(self, receiver, work, *rest)

    patch(Dispatcher, "_send", patched)


def read(folder: Path) -> list[Send]:
    """Return what all workers sent, in order of time."""
    return sorted(_lines(folder), key=lambda send: send.at)


def _lines(folder: Path) -> Iterator[Send]:
    for path in folder.glob(_NAME.format("*")):
        for line in path.read_bytes().splitlines():
            yield msgspec.json.decode(line, type=Send)
