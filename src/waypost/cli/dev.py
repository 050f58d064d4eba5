"""`waypost dev`: everything at once, to look at: a server, a receiver, a first event."""

import asyncio
import http.client
import os
import socket
import statistics
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.text import Text

from waypost import __version__, telemetry
from waypost.cli.administration import Client
from waypost.cli.options import with_settings
from waypost.cli.receiver import Received, SampleReceiver
from waypost.cli.samples import SAMPLES, Played, Sample
from waypost.clock import SystemClock
from waypost.config import Config, Settings
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.errors import ConfigInvalid, WaypostError
from waypost.policy import timestamp
from waypost.policy.egress import EgressRules
from waypost.server.program import Server, StopRequest, serving
from waypost.storage.sqlite.instance import InstanceLock
from waypost.web.listener import bind

FOLDER: Final = Path(".waypost/dev")
LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
POLL_S: Final = 0.2

_FRESH: Final = ("", "-wal", "-shm", ".key", ".sock")


@with_settings("listen", "log_level")
def dev(
    *,
    settings: Settings,
    as_: Annotated[
        Played, typer.Option("--as", help="Whose API to try: its key, sample events, a snippet.")
    ] = Played.NATIVE,
) -> None:
    """Start a server on a fresh database, a receiver that verifies signatures, and a first event.

    The terminal shows each event as it is accepted and as it is delivered. The database is in
    .waypost/dev and thrown away by the next run. Where the port is taken, a free one is used.
    Deliveries to this machine are allowed, so your own receiver on localhost works too.
    """
    config = settings.config
    telemetry.configure_log("pretty", max(config.log_level, "warning", key=_level))
    rules = config.egress_allow
    file = FOLDER / "waypost.db"
    wanted = replace(
        config,
        database_url=f"sqlite:///{file}",
        role="all",
        processes=1,
        secret_key=None,
        egress_allow=EgressRules((*rules.allow, *LOOPBACK), rules.names, rules.own),
    )
    _throw_away(file)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(wanted, SAMPLES[as_]))


def _level(name: str) -> int:
    return telemetry.LOG_LEVELS.index(name)


def _throw_away(database: Path) -> None:
    """Remove what the last run has left; refused while it still runs."""
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = InstanceLock.acquire(database, Path(os.devnull))
    for suffix in _FRESH:
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    lock.release()


async def _run(config: Config, sample: Sample) -> None:
    request = StopRequest()
    screen = Screen(Console(soft_wrap=True, highlight=False))
    receiver = SampleReceiver(SystemClock(), screen.received)
    await receiver.start()
    async with serving(config, _bind(config, screen)) as server:
        project = Client.local(server.local_path)
        made = await asyncio.to_thread(_set_up, project, receiver, sample.api)
        screen.introduce(server, receiver, made, config, sample)
        client = _client(server.url, made["key"])
        for event in sample.events:
            await asyncio.to_thread(partial(client.send, "POST", "/v1/events", event))
        watching = asyncio.create_task(_watch(project, screen))
        await request.wait(server)
        watching.cancel()
    await receiver.stop()
    screen.conclude()


def _bind(config: Config, screen: "Screen") -> socket.socket:
    listen = config.listen
    try:
        return bind(listen.host, listen.port)
    except ConfigInvalid as error:
        screen.note(f"{error.message}: taking a free port instead")
        return bind(listen.host, 0)


def _set_up(client: Client, receiver: SampleReceiver, api: Api) -> dict[str, Any]:
    """Make a key and a subscription for the receiver; return what the key was answered with."""
    body = {"name": "dev", "environment": "test", "api": api}
    made: dict[str, Any] = client.send("POST", "/v1/api_keys", body)
    subscription = client.send(
        "POST",
        "/v1/event_subscriptions",
        {"url": receiver.url, "format": "envelope", "description": "The sample receiver"},
    )
    path = f"/v1/event_subscriptions/{subscription['token']}/secret"
    receiver.secret = client.send("GET", path)["secret"]
    return made


def _client(url: str, key: str) -> Client:
    return Client(lambda: http.client.HTTPConnection(url.removeprefix("http://")), key)


async def _watch(client: Client, screen: "Screen") -> None:
    """Show what is accepted, whether or not it is delivered to the sample receiver."""
    while True:
        path = "/v1/events?page_size=100"
        if screen.newest:
            path += f"&ending_before={screen.newest}"
        # A server that is busy is asked again.
        with suppress(WaypostError):
            page = await asyncio.to_thread(client.send, "GET", path)
            for event in reversed(page["data"]):
                screen.accepted(event)
        await asyncio.sleep(POLL_S)


class Screen:
    """What the terminal shows: a line for each event accepted, a line for each one delivered."""

    def __init__(self, console: Console) -> None:
        """Take where lines go; where it is no terminal, they are plain."""
        self._console = console
        self._accepted: set[str] = set()
        self._delays_ms: list[float] = []
        self._bad = 0
        self.newest = ""

    def note(self, text: str) -> None:
        """Show a remark."""
        self._console.print(Text(text, style="yellow"))

    def introduce(
        self,
        server: Server,
        receiver: SampleReceiver,
        made: Mapping[str, Any],
        config: Config,
        sample: Sample,
    ) -> None:
        """Show where everything is, and what to try."""
        self._console.print(Text(f"Waypost {__version__}", style="bold"))
        for name, value in (
            ("API docs", f"{server.url}/docs"),
            ("API key", made["key"]),
            ("Receiver", f"{receiver.url} verifies each signature"),
            ("Database", f"{config.database}, fresh; the next run throws it away"),
        ):
            self._console.print(Text.assemble((f"  {name:10}", "dim"), value))
        self._console.print(f"\n{sample.heading}\n", style="bold")
        self._console.print(Text(sample.snippet(server.url, made), style="cyan"))
        self._console.print("Events, live (Ctrl-C stops):\n", style="bold")

    def accepted(self, event: dict[str, Any]) -> None:
        """Show an event that is in the database."""
        token = event["token"]
        self.newest = max(self.newest, token)
        self._accept(token, event["event_type"])

    def received(self, received: Received) -> None:
        """Show a request that the sample receiver got."""
        identifier = ids.find(ids.EVENT, received.webhook_id)
        if identifier is None or received.wrong is not None:
            self._bad += 1
            self._line(received.at_us, "REFUSED", "red", received.webhook_id, str(received.wrong))
            return
        delay_ms = (received.at_us - ids.moment(identifier)) / 1_000
        self._accept(received.webhook_id, msgspec.json.decode(received.body)["type"])
        self._delays_ms.append(delay_ms)
        told = f"{delay_ms:.1f} ms after it came in; signature verified"
        self._line(received.at_us, "delivered", "green", received.webhook_id, told)

    def conclude(self) -> None:
        """Show the sum of it."""
        delivered = len(self._delays_ms)
        told = f"\n{len(self._accepted)} accepted, {delivered} delivered"
        if delivered:
            told += f", {statistics.median(self._delays_ms):.1f} ms from one to the other (median)"
        if self._bad:
            told += f", {self._bad} with a bad signature"
        self._console.print(Text(told + ".", style="bold"))

    def _accept(self, token: str, event_type: str) -> None:
        if token in self._accepted:
            return
        self._accepted.add(token)
        identifier = ids.read(ids.EVENT, token)
        self._line(ids.moment(identifier), "accepted", "blue", token, event_type)

    def _line(self, at_us: int, what: str, style: str, token: str, told: str) -> None:
        clock = timestamp.spell(at_us)[11:23]
        line = Text.assemble((clock, "dim"), "  ", (f"{what:9}", style), "  ", token, "  ", told)
        self._console.print(line)
