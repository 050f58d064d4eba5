"""Letters: one tells of many events, and what receivers answer stays in its place."""

import msgspec

from waypost.model import ids
from waypost.policy import letter
from waypost.policy.system_events import system_types

PROJECT, EVENT = ids.make(1, 1), ids.make(2, 2)


def payload(**fields: object) -> bytes:
    known = {"type": "waypost.subscription.failing", "description": "Cards"}
    return msgspec.json.encode({**known, **fields})


def test_a_letter_tells_every_field() -> None:
    for one in system_types():
        written = letter.write([(PROJECT, EVENT, one.example)])
        assert written.key == ids.spell_uuid(EVENT)
        assert ids.spell(ids.PROJECT, PROJECT) in written.text
        for name, value in msgspec.json.decode(one.example).items():
            if value is not None:
                assert f"  {name}: {value}\n" in written.text


def test_a_letter_tells_of_many() -> None:
    one = letter.write([(PROJECT, EVENT, payload())])
    assert one.subject == "Waypost: subscription.failing (Cards)"
    many = letter.write([(PROJECT, EVENT, payload(failing_for_s=n)) for n in range(3)])
    assert many.subject == "Waypost: subscription.failing (Cards), and 2 more"
    assert many.text.count("subscription.failing (Cards)\n") == 3


def test_without_a_description_the_subscription_is_named() -> None:
    written = letter.write([(PROJECT, EVENT, payload(description="", subscription="ep_1"))])
    assert written.subject == "Waypost: subscription.failing (ep_1)"


def test_nothing_from_outside_makes_a_line_of_its_own() -> None:
    evil = "a\r\nBcc: x@example.com\u2028b\x1b[2J" + "c" * 1000
    written = letter.write([(PROJECT, EVENT, payload(description=evil, failure_message=evil))])
    assert written.subject.isprintable()
    assert "Bcc" not in [line.split(":")[0].strip() for line in written.text.splitlines()]
    assert max(map(len, written.text.splitlines())) < 400


def test_who_watches_a_subscription_reads_what_it_is_and_of_no_project() -> None:
    told = [(ids.alerts_of(PROJECT), EVENT, payload(about="Shop (https://x.example)"))]
    written = letter.write(told, "a@b.example")
    assert written.to == "a@b.example"
    assert written.subject == "Waypost: subscription.failing (Shop (https://x.example))"
    assert "project" not in written.text
