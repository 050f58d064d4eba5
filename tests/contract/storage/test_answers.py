"""Answers: kept encrypted under their key, once, until they expire."""

import pytest
from sqlalchemy import select

from tests.support.database import Records
from tests.support.manual import SeededEntropy
from waypost.model.errors import ConfigInvalid, Conflict
from waypost.storage import answers, schema
from waypost.storage.answers import Kept
from waypost.storage.vault import Vault

VAULT = Vault(bytes(range(32)), SeededEntropy())
KEPT = Kept(b"f" * 32, b'{"signingSecret": "whsec_"}')


def keep(records: Records, key: str, now_us: int = 10, kept: Kept = KEPT) -> None:
    answers.keep(
        records.connection,
        VAULT,
        records.project,
        key,
        kept,
        now_us=now_us,
        expires_at_us=now_us + 100,
    )


def found(records: Records, key: str, now_us: int = 10) -> Kept | None:
    return answers.find(records.connection, VAULT, records.project, key, now_us)


def test_one_is_found_until_it_expires(records: Records) -> None:
    keep(records, "ü")
    assert found(records, "ü", 109) == KEPT
    assert found(records, "ü", 110) is None
    assert found(records, "u") is None
    assert answers.find(records.connection, VAULT, records.other, "ü", 10) is None
    kept = records.connection.execute(select(schema.answers.c.ciphertext)).scalar_one()
    assert b"signingSecret" not in kept
    with pytest.raises(ConfigInvalid):
        VAULT.open(kept, answers._place(records.other, "ü"))


def test_a_key_is_answered_once_while_it_is_kept(records: Records) -> None:
    keep(records, "k")
    other = Kept(b"g" * 32, b"other")
    with pytest.raises(Conflict):
        keep(records, "k", 109, other)
    assert found(records, "k") == KEPT
    keep(records, "k", 110, other)
    assert found(records, "k", 110) == other


def test_what_has_expired_is_counted_and_forgotten_in_parts(records: Records) -> None:
    for n in range(4):
        keep(records, str(n), now_us=n)
    assert answers.count_expired(records.connection, 102) == 3
    assert answers.prune(records.connection, 102, 2) == 2
    assert answers.prune(records.connection, 102, 2) == 1
    assert found(records, "3") == KEPT
