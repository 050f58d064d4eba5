"""The log tells once that the database is away, and once that it is back."""

import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from waypost.storage.postgres.presence import Presence


def search(presence: Presence, name: str, error: Exception | None = None) -> list[str]:
    with capture_logs() as logs:
        if error is None:
            with presence.noted(name):
                pass
        else:
            with pytest.raises(type(error)), presence.noted(name):
                raise error
    return [f"{line['log_level']} {line['event']} {line.get('error')}" for line in logs]


def test_the_first_that_finds_nothing_tells_and_the_last_that_finds_it_again() -> None:
    presence = Presence()
    lost = psycopg.OperationalError("refused\nIs it running?")
    assert search(presence, "a") == []
    assert search(presence, "a", lost) == ["warning database_away refused"]
    assert search(presence, "a", lost) == []
    assert search(presence, "b", lost) == []
    assert search(presence, "a") == []
    assert search(presence, "c") == []
    assert search(presence, "b") == ["warning database_back None"]
    assert search(presence, "b") == []


def test_an_error_is_told_in_the_driver_s_words() -> None:
    wrapped = OperationalError("SELECT 1", {}, psycopg.OperationalError("refused"))
    assert search(Presence(), "a", wrapped) == ["warning database_away refused"]
