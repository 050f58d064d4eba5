"""What the terminal of `waypost dev` shows; the command itself is tried as a process."""

import io
import json

import pytest
from rich.console import Console

from waypost.cli.dev import Screen
from waypost.cli.receiver import Received
from waypost.model import ids

AT_US = 1_790_000_000_000_000
EVENT = ids.spell(ids.EVENT, ids.make(AT_US, 1))
BODY = json.dumps({"type": "card.created"}).encode()


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def screen(shown: io.StringIO) -> Screen:
    return Screen(Console(file=shown, soft_wrap=True, highlight=False))


def test_an_event_is_shown_once_as_accepted_whoever_sees_it_first(
    screen: Screen, shown: io.StringIO
) -> None:
    screen.received(Received(EVENT, AT_US + 2_500, BODY, None))
    screen.accepted({"token": EVENT, "event_type": "card.created"})
    accepted, delivered = shown.getvalue().splitlines()
    assert accepted.split()[1:] == ["accepted", EVENT, "card.created"]
    assert accepted.split()[0] + "2500" < delivered.split()[0] + "9999"
    assert "2.5 ms after it came in; signature verified" in delivered


def test_an_event_that_nobody_receives_is_shown_too(screen: Screen, shown: io.StringIO) -> None:
    screen.accepted({"token": EVENT, "event_type": "card.created"})
    assert "accepted" in shown.getvalue()
    assert screen.newest == EVENT


def test_a_bad_signature_is_shown_as_refused(screen: Screen, shown: io.StringIO) -> None:
    screen.received(Received(EVENT, AT_US, b"", "no signature is good"))
    screen.received(Received("nonsense", AT_US, b"", None))
    screen.conclude()
    assert shown.getvalue().count("REFUSED") == 2
    assert "0 accepted, 0 delivered, 2 with a bad signature." in shown.getvalue()


def test_the_sum_holds_the_median(screen: Screen, shown: io.StringIO) -> None:
    for number, delay_us in enumerate((1_000, 3_000, 50_000)):
        token = ids.spell(ids.EVENT, ids.make(AT_US, number))
        screen.received(Received(token, AT_US + delay_us, BODY, None))
    screen.conclude()
    assert "3 accepted, 3 delivered, 3.0 ms from one to the other (median)." in shown.getvalue()
