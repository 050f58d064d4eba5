import pytest

from bench.layers import FRAMEWORK, LOOP, OTHER, layer_of


@pytest.mark.parametrize(
    "modules, layer",
    [
        (["sqlite3", "waypost.storage.sqlite.committer", "threading"], "storage"),
        (["waypost.policy.signing", "waypost.engine.sender"], "policy"),
        (["json.decoder", "waypost.api.events", "waypost.web.protocol"], "api"),
        (["uvicorn.protocols.http", "asyncio.runners"], FRAMEWORK),
        (["asyncio.runners", "__main__"], LOOP),
        ([], LOOP),
        (["threading"], OTHER),
    ],
)
def test_the_innermost_frame_of_waypost_is_charged(modules: list[str], layer: str) -> None:
    assert layer_of(modules) == layer
