"""The mailer: tells of system events by e-mail; everybody gets one letter a minute at most.

Operators are told of all projects; an address that watches a subscription, of that alone. What is
to be told stands in the database from the transaction on that made the event. It goes when the SMTP
server has taken the letter: a crash in between repeats one. One process does it for all.
"""

from functools import partial
from typing import Final

import structlog

from waypost.clock import Clock
from waypost.egress.mail import MailFailed, Send
from waypost.engine.job import Job
from waypost.policy import letter
from waypost.storage import mails
from waypost.storage.connection import Connection
from waypost.storage.mails import Mail
from waypost.storage.store import Store

_log = structlog.get_logger(__name__)

EVERY_S: Final = 10.0
TOLD_MAX: Final = 50
"""So many events one letter tells of."""

LETTERS_MAX: Final = 20
"""So many are written at once, about."""

_MICROS: Final = 1_000_000
GAP_US: Final = 60 * _MICROS


class Mailer:
    """For the loop's thread alone."""

    def __init__(self, store: Store, clock: Clock, send: Send) -> None:
        """Take where mails are kept, and what sends a letter."""
        self._store = store
        self._clock = clock
        self._send = send
        # When somebody was sent one last, forgotten after the gap; None: the operators.
        self._sent_us: dict[str | None, int] = {}
        self.job = Job("mailer", self.run_once, every_s=EVERY_S)

    async def run_once(self) -> bool:
        """Send one letter of what is due to each who was sent none just now.

        Returns:
            False: nothing more until later.
        """
        now_us = self._clock.now_us()
        self._sent_us = {to: at for to, at in self._sent_us.items() if now_us - at < GAP_US}
        limit = LETTERS_MAX + len(self._sent_us)
        for to in await self._store.read(partial(mails.recipients, now_us=now_us, limit=limit)):
            if to not in self._sent_us:
                await self._write(to, now_us)
        return False

    async def _write(self, to: str | None, now_us: int) -> None:
        due = await self._store.read(
            partial(mails.find_due, now_us=now_us, limit=TOLD_MAX, recipient=to)
        )
        if not due:
            return
        self._sent_us[to] = now_us
        written = letter.write([(one.project_id, one.event_id, one.payload) for one in due], to)
        try:
            await self._send(written, now_us)
        except MailFailed as error:
            _log.warning("mail_failed", error=str(error))
            await self._store.write(partial(_put_off, due=due, now_us=now_us))
        else:
            await self._store.write(partial(_done, sent=due))


def _done(connection: Connection, sent: list[Mail]) -> None:
    for one in sent:
        mails.done(connection, one.project_id, one.event_id)


def _put_off(connection: Connection, due: list[Mail], now_us: int) -> None:
    """Try again later what could not be sent, or give it up."""
    for one in due:
        place = (one.project_id, one.event_id)
        if one.attempts < len(letter.SCHEDULE_S):
            at_us = now_us + int(letter.SCHEDULE_S[one.attempts] * _MICROS)
            mails.put_off(connection, *place, at_us)
        else:
            _log.error("mail_given_up", about=one.event_id.hex(), type=one.type)
            mails.done(connection, *place)
