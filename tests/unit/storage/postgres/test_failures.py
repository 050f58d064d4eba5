"""What errors mean for who waits."""

import psycopg
import pytest
from psycopg import errors

from waypost.model.errors import StorageFull, Unavailable
from waypost.storage.postgres.failures import Failure, answer, judge, shown

MEANINGS = {
    Failure.LOST: ["08006", "57P01", "57P02", "57P03", "25006", "53300", "0A000", "26000"],
    Failure.CLASH: ["40001", "40P01"],
    Failure.BUSY: ["57014", "55P03", "53200", "25P03"],
    Failure.FULL: ["53100"],
    Failure.DATA: ["23505", "23514", "22P02", "22021"],
    Failure.BUG: ["42P01", "42601"],
}


@pytest.mark.parametrize("meaning", MEANINGS)
def test_the_server_s_codes_mean_what_they_say(meaning: Failure) -> None:
    for code in MEANINGS[meaning]:
        assert judge(errors.lookup(code)("said so")) is meaning


def test_without_a_code_the_connection_is_lost_or_the_value_is_bad() -> None:
    assert judge(psycopg.OperationalError("closed")) is Failure.LOST
    assert judge(psycopg.InterfaceError("closed")) is Failure.LOST
    assert judge(psycopg.DataError("too large")) is Failure.DATA
    assert judge(UnicodeEncodeError("utf-8", "x", 0, 1, "bad")) is Failure.DATA


def test_an_error_is_shown_without_what_it_quotes() -> None:
    error = errors.UniqueViolation("duplicate key\nDETAIL:  Key (id)=(secret)")
    assert shown(error) == "duplicate key (23505)"
    assert shown(psycopg.OperationalError("gone\nfor good")) == "gone"


def test_only_a_full_disk_is_told_as_that() -> None:
    answers = {type(answer(failure)) for failure in Failure if failure is not Failure.FULL}
    assert answers == {Unavailable}
    assert isinstance(answer(Failure.FULL), StorageFull)
