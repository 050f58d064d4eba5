"""Mail: one letter, by the SMTP server that the operators' settings name.

The guard is not asked. It keeps those who may call the API from reaching what only this machine
can; the SMTP server is named by whoever runs this machine, as the database is, and usually stands
in the same private network.
"""

import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Final, Literal

import aiosmtplib
import msgspec

from waypost.policy.letter import Letter

TIMEOUT_S: Final = 30.0

Security = Literal["starttls", "tls", "none"]

Send = Callable[[Letter, int], Awaitable[None]]
"""Sends a letter that is written at a moment, UTC microseconds."""


class MailFailed(Exception):
    """A letter was not taken; says why."""


class Smtp(msgspec.Struct, frozen=True):
    """How letters are sent.

    Attributes:
        security: how the connection is protected: from the start, or by STARTTLS before anything
            else, without which nothing is sent.
        user: with `password`, who logs in; None: nobody does.
        sender: the address that letters are from, and
        recipients: those that they go to where a letter says nothing else.
        ca_file: certificates to trust beside the system's own.
    """

    host: str
    port: int
    security: Security
    user: str | None
    password: str | None
    sender: str
    recipients: tuple[str, ...]
    ca_file: Path | None = None


async def send(smtp: Smtp, letter: Letter, now_us: int) -> None:
    """Send a letter.

    Raises:
        MailFailed: the server did not take it, or for none of the recipients.
    """
    context = ssl.create_default_context()
    if smtp.ca_file is not None:
        context.load_verify_locations(smtp.ca_file)
    try:
        await aiosmtplib.send(
            _message(smtp, letter, now_us),
            sender=smtp.sender,
            recipients=_recipients(smtp, letter),
            hostname=smtp.host,
            port=smtp.port,
            use_tls=smtp.security == "tls",
            start_tls=smtp.security == "starttls",
            username=smtp.user,
            password=smtp.password,
            timeout=TIMEOUT_S,
            tls_context=None if smtp.security == "none" else context,
        )
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise MailFailed(f"{type(error).__name__}: {error}") from error


def _recipients(smtp: Smtp, letter: Letter) -> tuple[str, ...]:
    return smtp.recipients if letter.to is None else (letter.to,)


def _message(smtp: Smtp, letter: Letter, now_us: int) -> EmailMessage:
    message = EmailMessage()
    message["From"] = smtp.sender
    message["To"] = ", ".join(_recipients(smtp, letter))
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(now_us / 1_000_000, UTC))
    # The same where a letter is sent twice, because nobody knew that it had been taken.
    message["Message-ID"] = f"<{letter.key}@{smtp.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    return message
