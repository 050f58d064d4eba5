"""Changes of the configuration: answered when this process has met them in the log."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from waypost.engine.configuration import Configuration
from waypost.model.errors import Conflict, Unavailable


class Store:
    """A store that writes at once."""

    def __init__(self) -> None:
        self.order: list[str] = []

    async def write(self, fn: Callable[[Any], int], after: Callable[[int], None]) -> int:
        result = fn(None)
        after(result)
        return result


def configuration(
    catch_up: Callable[[], Any] | None = None,
) -> tuple[Configuration, list[str]]:
    store: Any = Store()
    return Configuration(store, catch_up), store.order


async def test_memory_follows_the_commit_and_then_the_log_is_met() -> None:
    order: list[str] = []

    async def catch_up() -> None:
        order.append("met")

    made, _ = configuration(catch_up)

    def write(_: Any) -> int:
        order.append("written")
        return 5

    assert await made.change(write, lambda n: order.append(f"followed {n}")) == 5
    assert order == ["written", "followed 5", "met"]


async def test_a_process_alone_meets_nothing() -> None:
    made, order = configuration()
    assert await made.change(lambda _: 5, lambda _: order.append("followed")) == 5
    assert order == ["followed"]


async def test_what_is_committed_is_answered_even_if_the_log_is_out_of_reach() -> None:
    async def catch_up() -> None:
        raise Unavailable

    made, order = configuration(catch_up)
    with capture_logs() as logs:
        assert await made.change(lambda _: 5, lambda _: order.append("followed")) == 5
    assert [entry["event"] for entry in logs] == ["configuration_unconfirmed"]


async def test_what_was_not_written_is_not_waited_for() -> None:
    async def catch_up() -> None:
        raise AssertionError

    def write(_: Any) -> int:
        raise Conflict

    made, order = configuration(catch_up)
    with pytest.raises(Conflict):
        await made.change(write, lambda _: None)
    assert order == []
