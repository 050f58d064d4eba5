"""Envelopes open for who has the key, at the place that they belong to, and nowhere else."""

import pytest

from tests.support.manual import SeededEntropy
from waypost.clock import SystemEntropy
from waypost.model.errors import ConfigInvalid
from waypost.storage.key_file import fingerprint
from waypost.storage.vault import Vault

KEY = bytes(range(32))
NEXT_KEY = bytes(range(1, 33))
SECRET = b"a secret of thirty-two bytes ...."
PLACE = b"a place"


def test_a_secret_comes_back_from_its_place() -> None:
    vault = Vault(KEY, SystemEntropy())
    envelope = vault.seal(SECRET, PLACE)
    assert vault.open(envelope, PLACE) == SECRET
    assert SECRET not in envelope
    assert envelope.startswith(f"v1:{fingerprint(KEY)}:".encode())


def test_the_same_secret_never_looks_the_same() -> None:
    vault = Vault(KEY, SeededEntropy())
    assert len({vault.seal(SECRET, PLACE) for _ in range(100)}) == 100


def test_an_envelope_does_not_open_at_another_place() -> None:
    vault = Vault(KEY, SystemEntropy())
    with pytest.raises(ConfigInvalid, match="damaged, or was moved"):
        vault.open(vault.seal(SECRET, PLACE), b"another place")


def test_no_changed_byte_goes_unnoticed() -> None:
    vault = Vault(KEY, SystemEntropy())
    envelope = vault.seal(SECRET, PLACE)
    for at in range(len(envelope)):
        changed = bytearray(envelope)
        changed[at] ^= 1
        with pytest.raises(ConfigInvalid):
            vault.open(bytes(changed), PLACE)


@pytest.mark.parametrize("length", [0, 3, 19, 20, 32, 47])
def test_a_cut_envelope_does_not_open(length: int) -> None:
    vault = Vault(KEY, SystemEntropy())
    with pytest.raises(ConfigInvalid):
        vault.open(vault.seal(SECRET, PLACE)[:length], PLACE)


def test_after_a_change_of_keys_old_envelopes_open_and_new_ones_have_the_new_key() -> None:
    old = Vault(KEY, SystemEntropy()).seal(SECRET, PLACE)
    vault = Vault(NEXT_KEY, SystemEntropy(), earlier=[KEY])
    assert vault.open(old, PLACE) == SECRET
    assert Vault(NEXT_KEY, SystemEntropy()).open(vault.seal(SECRET, PLACE), PLACE) == SECRET


def test_a_missing_key_is_named() -> None:
    old = Vault(KEY, SystemEntropy()).seal(SECRET, PLACE)
    with pytest.raises(ConfigInvalid, match=fingerprint(KEY)):
        Vault(NEXT_KEY, SystemEntropy()).open(old, PLACE)


@pytest.mark.parametrize("key", [b"", b"short", bytes(32), b"x" * 32, bytes(range(33))])
def test_a_key_that_is_none_is_refused(key: bytes) -> None:
    with pytest.raises(ConfigInvalid, match="32 random bytes"):
        Vault(key, SystemEntropy())
