"""Keys can be told from other texts, and nothing of them is kept but a digest."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.api import Api
from waypost.model.project import Environment
from waypost.policy.credentials import SECRET_BITS, digest, is_key, spell

SECRETS = st.integers(0, 2**SECRET_BITS - 1)


@pytest.mark.parametrize(
    "environment, mark", [(Environment.TEST, "test"), (Environment.PRODUCTION, "live")]
)
def test_a_key_names_its_environment(environment: Environment, mark: str) -> None:
    key = spell(environment, 2**SECRET_BITS - 1)
    assert re.fullmatch(rf"wp_{mark}_[0-9A-Za-z]{{43}}_[0-9A-Za-z]{{6}}", key)


@pytest.mark.parametrize(
    "api, start",
    [
        (Api.NATIVE, "wp_live_"),
        (Api.SOCOTRA, "wp_socotra_live_"),
        (Api.BUILDABLE, "sk_live_1_"),
        (Api.CONVOY, "CO.wp_live."),
        (Api.STEDI, "wp_stedi_live_"),
    ],
)
def test_a_key_for_the_clients_of_an_api_begins_as_its_keys_do(api: Api, start: str) -> None:
    key = spell(Environment.PRODUCTION, 1, api)
    assert key.startswith(start)
    assert is_key(key)
    assert not is_key(key[:-1])


@given(SECRETS)
def test_what_is_spelled_is_a_key(secret: int) -> None:
    assert is_key(spell(Environment.TEST, secret))


@given(SECRETS, SECRETS)
def test_no_two_secrets_have_one_text(first: int, second: int) -> None:
    same = spell(Environment.TEST, first) == spell(Environment.TEST, second)
    assert same is (first == second)


@given(SECRETS, st.integers(8, 57))
def test_a_changed_character_is_noticed(secret: int, at: int) -> None:
    key = spell(Environment.TEST, secret)
    wrong = "x" if key[at] != "x" else "y"
    assert not is_key(key[:at] + wrong + key[at + 1 :])


@pytest.mark.parametrize("text", ["", "wp_test_", "whsec_abc", "wp_dev_x_000000"])
def test_other_texts_are_no_keys(text: str) -> None:
    assert not is_key(text)


def test_of_a_key_its_sha_256_is_kept() -> None:
    assert digest(b"key") == hashlib.sha256(b"key").digest()
