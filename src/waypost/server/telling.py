"""The wiring of what is told: system events, and the letters that tell of some of them."""

from collections.abc import Callable
from functools import partial
from typing import Final

from waypost.clock import Clock, IdSource
from waypost.config import Config
from waypost.egress import mail
from waypost.egress.mail import Smtp
from waypost.engine.dispatcher import Dispatcher
from waypost.engine.job import Job
from waypost.engine.mailer import Mailer
from waypost.engine.teller import Teller
from waypost.storage.store import Store

_MICROS: Final = 1_000_000


def tellers(
    config: Config,
    store: Store,
    dispatcher: Dispatcher,
    fanned_out: Callable[[], None],
    clock: Clock,
    ids: IdSource,
) -> list[Job]:
    """Make what finds system events, and what sends letters; return their jobs.

    `fanned_out` is called when an event was committed whose deliveries are still to be made.
    """
    announcer = dispatcher.roster.announcer
    announcer.follow = fanned_out
    backlog_us = int(config.backlog_high * _MICROS)
    jobs = [Teller(store, announcer, dispatcher.owed, clock, ids, backlog_us).job]
    smtp = smtp_of(config)
    if smtp is not None:
        mailer = Mailer(store, clock, partial(mail.send, smtp))
        jobs.append(mailer.job)

        def follow() -> None:
            fanned_out()
            mailer.job.wake()

        announcer.mails, announcer.follow = True, follow
    return jobs


def smtp_of(config: Config) -> Smtp | None:
    """Return how letters are sent; None where they are not."""
    if config.smtp_host is None or config.smtp_from is None:
        return None
    return Smtp(
        config.smtp_host,
        config.smtp_port,
        config.smtp_security,
        config.smtp_user,
        config.smtp_password,
        config.smtp_from,
        config.smtp_to,
        config.egress_ca,
    )
