"""Letters at a real SMTP server: how they look there, and how the connection is protected."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.certificates import Authority
from tests.support.smtp import PASSWORD, USER, Box, smtp_server
from waypost.egress import mail
from waypost.egress.mail import MailFailed, Smtp
from waypost.policy.letter import Letter

LETTER = Letter("0189-key", "Waypost: Grüße (Cards)", "Überall\n.\nend\n")
NOW_US = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def plain() -> Iterator[Box]:
    with smtp_server() as box:
        yield box


def to(box: Box, **settings: Any) -> Smtp:
    known = Smtp(
        "localhost", box.port, "none", None, None, "w@a.example", ("o@b.example", "p@c.example")
    )
    return replace(known, **settings)


def taken(box: Box) -> EmailMessage:
    [content] = box.messages
    found = message_from_bytes(content, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


async def test_a_letter_comes_as_it_was_written(plain: Box) -> None:
    await mail.send(to(plain), LETTER, NOW_US)
    found = taken(plain)
    assert found["from"] == "w@a.example"
    assert found["to"] == "o@b.example, p@c.example"
    assert found["subject"] == LETTER.subject
    assert found["message-id"] == "<0189-key@a.example>"
    assert found["date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert found["auto-submitted"] == "auto-generated"
    assert found.get_content().replace("\r\n", "\n") == LETTER.text
    assert plain.recipients == [["o@b.example", "p@c.example"]]


async def test_a_connection_that_is_protected_from_the_start(authority: Authority) -> None:
    with smtp_server(authority.serve("localhost"), security="tls") as box:
        known = to(box, security="tls", ca_file=authority.file)
        await mail.send(known, LETTER, NOW_US)
        assert taken(box)["subject"] == LETTER.subject
        with pytest.raises(MailFailed, match="certificate"):
            await mail.send(replace(known, ca_file=None), LETTER, NOW_US)


async def test_a_login_goes_over_a_protected_connection(authority: Authority) -> None:
    with smtp_server(authority.serve("localhost"), security="starttls", login=True) as box:
        known = to(box, security="starttls", ca_file=authority.file, user=USER, password=PASSWORD)
        await mail.send(known, LETTER, NOW_US)
        assert taken(box)["subject"] == LETTER.subject
        with pytest.raises(MailFailed, match="Authentication"):
            await mail.send(replace(known, password="wrong"), LETTER, NOW_US)
        with pytest.raises(MailFailed, match="530"):
            await mail.send(replace(known, user=None, password=None), LETTER, NOW_US)
        with pytest.raises(MailFailed, match="certificate"):
            await mail.send(replace(known, ca_file=None), LETTER, NOW_US)
        assert len(box.messages) == 1


async def test_where_starttls_is_not_offered_nothing_is_sent(plain: Box) -> None:
    with pytest.raises(MailFailed, match="STARTTLS"):
        await mail.send(to(plain, security="starttls"), LETTER, NOW_US)
    with pytest.raises(MailFailed):
        await mail.send(to(plain, security="tls"), LETTER, NOW_US)
    assert plain.messages == []


async def test_a_server_that_refuses_or_is_away_is_told_of(plain: Box) -> None:
    plain.refuses = True
    with pytest.raises(MailFailed, match="451"):
        await mail.send(to(plain), LETTER, NOW_US)
    with pytest.raises(MailFailed):
        await mail.send(to(plain, port=1), LETTER, NOW_US)


async def test_a_letter_to_somebody_goes_to_nobody_else(plain: Box) -> None:
    await mail.send(to(plain), replace(LETTER, to="me@c.example"), NOW_US)
    assert plain.recipients == [["me@c.example"]]
    assert taken(plain)["to"] == "me@c.example"
