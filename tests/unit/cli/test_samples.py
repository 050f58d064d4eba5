"""What is shown of each API names the server and the key, and nothing is left to fill in."""

import pytest

from waypost.cli.samples import SAMPLES, Played


@pytest.mark.parametrize("played", list(Played))
def test_a_snippet_is_whole(played: Played) -> None:
    sample = SAMPLES[played]
    # Lithic's API is the native one.
    assert sample.api.value == played.value.replace("lithic", "native")
    assert sample.events
    told = sample.snippet("http://127.0.0.1:1", {"key": "secret", "tenant_locator": "uuid"})
    assert "http://127.0.0.1:1/" in told
    assert "secret" in told
    assert "@" not in told
