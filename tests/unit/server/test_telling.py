"""Settings reach what tells of system events."""

from pathlib import Path
from typing import Any

from waypost import config
from waypost.clock import SystemClock
from waypost.config import Config
from waypost.egress.mail import Smtp
from waypost.server.telling import smtp_of
from waypost.server.tools import Tools
from waypost.server.wiring import Engine
from waypost.storage.sqlite.store import SqliteStore

MAIL = {
    "smtp_host": "mail.example",
    "smtp_port": "26",
    "smtp_security": "tls",
    "smtp_user": "waypost",
    "smtp_password": "hidden",
    "smtp_from": "w@a.example",
    "smtp_to": "o@b.example, p@c.example",
}


def load(tmp_path: Path, **given: str) -> Config:
    database = f"sqlite:///{tmp_path / 'w.db'}"
    return config.load({**given, "database_url": database}, environment={}).config


def engine(settings: Config) -> Engine:
    store = SqliteStore(Path("w.db"), on_fatal=print)
    return Engine(settings, store, Tools(SystemClock(), bytes(range(32))))


def test_every_setting_of_mail_is_obeyed(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    assert smtp_of(load(tmp_path)) is None
    assert smtp_of(load(tmp_path, **MAIL, egress_ca=str(authority))) == Smtp(
        "mail.example",
        26,
        "tls",
        "waypost",
        "hidden",
        "w@a.example",
        ("o@b.example", "p@c.example"),
        authority,
    )


async def test_without_a_server_nothing_is_mailed(tmp_path: Path) -> None:
    plain, mailing = engine(load(tmp_path)), engine(load(tmp_path, **MAIL))
    assert [job._name for job in plain._tellers] == ["teller"]
    assert [job._name for job in mailing._tellers] == ["teller", "mailer"]
    assert not plain.dispatcher.roster.announcer.mails
    announcer = mailing.dispatcher.roster.announcer
    assert announcer.mails
    announcer.follow()
    assert all(job._wanted.is_set() for job in (mailing.expander.job, mailing._tellers[1]))


async def test_a_backlog_is_high_as_the_settings_say(tmp_path: Path) -> None:
    [job] = engine(load(tmp_path, backlog_high="14m"))._tellers
    step: Any = job._step
    assert step.__self__._backlog_us == 14 * 60 * 1_000_000
