"""A real SMTP server on the loopback, which keeps what it is sent."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult

USER, PASSWORD = "waypost", "hidden-password"


class Box:
    """What an SMTP server was sent.

    Attributes:
        port: where it listens.
        messages: as they came, and
        recipients: to whom.
        refuses: it takes nothing now.
    """

    def __init__(self) -> None:
        self.port = 0
        self.messages: list[bytes] = []
        self.recipients: list[list[str]] = []
        self.refuses = False

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd calls it so
        """Take a message."""
        if self.refuses:
            return "451 later"
        self.messages.append(bytes(envelope.content))
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 taken"


def _check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, login: Any) -> AuthResult:
    right = (login.login, login.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=right)


@contextmanager
def smtp_server(
    context: ssl.SSLContext | None = None, *, security: str = "none", login: bool = False
) -> Iterator[Box]:
    """Run a server; with a context it is protected, from the start (`tls`) or by STARTTLS.

    Where it asks for a login it wants STARTTLS.
    """
    box = Box()
    settings: dict[str, Any] = {}
    if login:
        settings = {"auth_required": True, "authenticator": _check}
    if security == "starttls":
        settings |= {"tls_context": context, "require_starttls": True}
    own = context if security == "tls" else None
    listening, stops = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        def protocol() -> SMTP:
            return SMTP(box, loop=loop, hostname="localhost", **settings)

        server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=own)
        box.port = server.sockets[0].getsockname()[1]
        listening.set()
        await stops.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    listening.wait()
    try:
        yield box
    finally:
        loop.call_soon_threadsafe(stops.set)
        thread.join()
        loop.close()
