"""The transport before any connection stands; the rest is tried at real sockets."""

import asyncio
import ssl
import threading
from pathlib import Path

import pytest

from tests.support.egress import ManualClock, Sending
from waypost.egress.resolver import Resolver
from waypost.egress.transport import Transport
from waypost.model.exchange import FailureKind
from waypost.policy.egress import NO_RULES
from waypost.policy.urls import parse

TO = parse("https://a.example.com/")


async def test_a_denied_target() -> None:
    transport = Transport(asyncio.get_running_loop(), rules=NO_RULES)
    end = await Sending(transport, parse("https://127.0.0.1/")).failure()
    assert (end.kind, end.text) == (FailureKind.DENIED, "the target is not allowed")
    assert (end.resent, end.timings.connect_us, end.timings.first_byte_us) == (False, 0, 0)
    assert transport.connections_made == transport.calls_open == 0
    await transport.close()


async def test_a_name_without_an_address() -> None:
    loop = asyncio.get_running_loop()
    resolver = Resolver(loop, ManualClock(), lookup=lambda _host: [])
    transport = Transport(loop, rules=NO_RULES, resolver=resolver)
    assert (await Sending(transport, TO).failure()).kind is FailureKind.RESOLVE
    await transport.close()


async def test_close_does_not_wait_for_a_silent_name_server() -> None:
    release = threading.Event()

    def lookup(_host: str) -> list[str]:
        release.wait(5)
        return []

    loop = asyncio.get_running_loop()
    resolver = Resolver(loop, ManualClock(), lookup=lookup)
    transport = Transport(loop, rules=NO_RULES, resolver=resolver)
    sending = Sending(transport, TO)
    await transport.close()
    assert (await sending.failure()).kind is FailureKind.ABORTED
    assert (await Sending(transport, TO).failure()).kind is FailureKind.ABORTED
    release.set()


async def test_the_sweep_rests_when_there_is_nothing_to_watch() -> None:
    transport = Transport(asyncio.get_running_loop(), rules=NO_RULES)
    assert transport._sweeping is None
    await Sending(transport, parse("https://127.0.0.1/")).failure()
    transport._sweep()
    assert transport._sweeping is None
    await transport.close()


@pytest.mark.parametrize("text", [None, "no certificate"])
async def test_a_ca_file_that_is_none(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(OSError) as raised:  # noqa: PT011 - either of the two is one
        Transport(asyncio.get_running_loop(), rules=NO_RULES, ca_file=str(file))
    assert isinstance(raised.value, FileNotFoundError | ssl.SSLError)
