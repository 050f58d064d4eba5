"""Operators are told by e-mail, by the real program at a real SMTP server."""

from email import message_from_bytes, policy
from pathlib import Path

from tests.support.convoy import Convoy
from tests.support.receiver import receiver
from tests.support.site import eventually, running
from tests.support.smtp import smtp_server

NO_RETRIES = {"strategy": "schedule", "schedule_s": []}
HANDLING = {"retry": NO_RETRIES, "on_giving_up": ["divert", "suspend"]}


def test_a_suspension_is_told_by_mail_once_and_not_again_after_a_restart(tmp_path: Path) -> None:
    with smtp_server() as box, receiver() as failing:
        failing.status = 500
        settings = {
            "WAYPOST_SMTP_HOST": "localhost",
            "WAYPOST_SMTP_PORT": str(box.port),
            "WAYPOST_SMTP_SECURITY": "none",
            "WAYPOST_SMTP_FROM": "waypost@a.example",
            "WAYPOST_SMTP_TO": "ops@b.example",
        }
        with running(tmp_path, **settings) as (_, site):
            tenant = site.tenant()
            token = tenant.subscribe(failing.url, description="Cards", failure_handling=HANDLING)
            tenant.post()
            [content] = eventually(lambda: list(box.messages))
        with running(tmp_path, **settings) as (_, site):
            assert site.at(tenant).ask(200, "GET", f"/v1/event_subscriptions/{token}")["suspended"]
        assert len(box.messages) == 1
    letter = message_from_bytes(content, policy=policy.default)
    assert letter["subject"] == "Waypost: subscription.suspended (Cards)"
    assert letter["to"] == "ops@b.example"
    assert f"subscription: {token}" in content.decode()
    assert "failure_trigger: 500" in content.decode()


def test_the_support_of_an_endpoint_is_told_that_it_stopped(tmp_path: Path) -> None:
    with smtp_server() as box, receiver() as failing:
        failing.status = 410
        settings = {
            "WAYPOST_SMTP_HOST": "localhost",
            "WAYPOST_SMTP_PORT": str(box.port),
            "WAYPOST_SMTP_SECURITY": "none",
            "WAYPOST_SMTP_FROM": "waypost@a.example",
            "WAYPOST_SMTP_TO": "ops@b.example",
        }
        with running(tmp_path, **settings) as (_, site):
            convoy = Convoy(site, site.tenant())
            endpoint = convoy.endpoint(failing.url, name="Shop", support_email="me@c.example")
            convoy.send(endpoint)
            eventually(lambda: box.recipients, lambda found: len(found) == 2)
            convoy.close()
    told = dict(zip((to for [to] in box.recipients), box.messages, strict=True))
    assert set(told) == {"ops@b.example", "me@c.example"}
    letter = message_from_bytes(told["me@c.example"], policy=policy.default)
    assert letter["subject"] == f"Waypost: subscription.disabled (Shop ({failing.url}))"
    assert "project" not in letter.get_content()
