import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model import ids
from waypost.model.errors import NotFound

LAST_US = (1 << 48) * 1000 - 1

moments = st.integers(0, LAST_US)
chances = st.integers(0, ids.MAX_CHANCE)
identifiers = st.binary(min_size=ids.ID_BYTES, max_size=ids.ID_BYTES)
kinds = st.sampled_from(sorted(ids.KINDS))


@given(moments, chances)
def test_an_id_is_a_uuid_7_that_carries_its_moment(at_us: int, chance: int) -> None:
    identifier = ids.make(at_us, chance)
    assert ids.moment(identifier) == at_us
    read = uuid.UUID(bytes=identifier)
    assert (read.version, read.variant) == (7, uuid.RFC_4122)
    assert read.int >> 80 == at_us // 1000
    assert read.int & ids.MAX_CHANCE == chance


@given(moments, moments, chances, chances)
def test_ids_sort_by_moment_then_by_chance(a_us: int, b_us: int, a: int, b: int) -> None:
    first, second = ids.make(a_us, a), ids.make(b_us, b)
    assert (first < second) == ((a_us, a) < (b_us, b))


@given(moments, chances)
def test_the_lowest_id_of_a_moment_divides_before_from_since(at_us: int, chance: int) -> None:
    assert ids.lowest(at_us) <= ids.make(at_us, chance)
    if at_us:
        assert ids.make(at_us - 1, ids.MAX_CHANCE) < ids.lowest(at_us)


def test_a_moment_before_1970_has_the_lowest_id_of_all() -> None:
    assert ids.lowest(-1) == ids.make(0, 0)
    assert ids.FIRST < ids.lowest(-1) < ids.LAST


@given(kinds, identifiers)
def test_a_token_reads_as_it_is_spelled(kind: str, identifier: bytes) -> None:
    token = ids.spell(kind, identifier)
    assert token == f"{kind}_{uuid.UUID(bytes=identifier)}"
    assert "." not in token
    assert ids.read(kind, token) == ids.find(kind, token) == identifier


@given(kinds, identifiers, identifiers)
def test_tokens_sort_as_their_ids(kind: str, a: bytes, b: bytes) -> None:
    assert (ids.spell(kind, a) < ids.spell(kind, b)) == (a < b)


@given(kinds, kinds, identifiers)
def test_a_token_of_another_kind_is_none(kind: str, other: str, identifier: bytes) -> None:
    assert (ids.find(other, ids.spell(kind, identifier)) is None) == (kind != other)


GOOD = "018bcfe5-6800-7000-8000-000000000005"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "evt_",
        GOOD,
        f"EVT_{GOOD}",
        f"evt-{GOOD}",
        f"evt_{GOOD.upper()}",
        f"evt_{GOOD.replace('-', '')}",
        f"evt_{GOOD} ",
        f"evt_{GOOD}\n",
        f" evt_{GOOD}",
        f"evt_{GOOD[:-1]}",
        f"evt_{GOOD}0",
        f"evt_{GOOD[:-1]}g",
        f"evt_{GOOD[:-1]}\u0665",
        f"evt_{{{GOOD}}}",
        "evt_" + "0" * 36,
    ],
)
def test_a_malformed_token_is_of_nothing(token: str) -> None:
    assert ids.find(ids.EVENT, token) is None
    with pytest.raises(NotFound, match="event not found"):
        ids.read(ids.EVENT, token)


@given(kinds, st.text())
def test_no_text_fails_otherwise(kind: str, text: str) -> None:
    assert ids.find(kind, text) is None
    assert ids.find(kind, f"{kind}_{text}") is None


def test_nothing_stands_between_an_id_and_the_following() -> None:
    identifier = ids.make(1_800_000_000_000_000, ids.MAX_CHANCE)
    assert int.from_bytes(ids.following(identifier), "big") == int.from_bytes(identifier, "big") + 1
    assert ids.following(bytes(15) + b"\xff") == bytes(14) + b"\x01\x00"


@given(moments, chances)
def test_a_hidden_project_has_an_id_of_its_own(at_us: int, chance: int) -> None:
    project_id = ids.make(at_us, chance)
    hidden_id = ids.alerts_of(project_id)
    assert (ids.is_of_alerts(project_id), ids.is_of_alerts(hidden_id)) == (False, True)
    assert ids.moment(hidden_id) == at_us
    assert ids.alerts_of(hidden_id) == hidden_id


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_each_spelling_keeps_the_order_and_hex_is_read_back(first: bytes, second: bytes) -> None:
    for spell in (ids.spell_uuid, ids.spell_ulid, ids.spell_hex):
        assert (spell(first) < spell(second)) is (first < second)
    assert ids.find_hex(ids.spell_hex(first)) == first
    assert ids.find_ulid(ids.spell_ulid(first).lower()) == first
    assert {ids.find_spelled(spelled) for spelled in ids.spellings(first)} == {first}
    assert bytes.fromhex(ids.spell_uuid(first).replace("-", "")) == first


def test_a_ulid_is_spelled_as_its_specification_does() -> None:
    assert ids.spell_ulid(bytes(16)) == "0" * 26
    assert ids.spell_ulid(b"\xff" * 16) == "7" + "Z" * 25
    assert ids.spell_ulid(bytes.fromhex("01563e3ab5d3d6764c61efb99302bd5b")) == (
        "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    )


@pytest.mark.parametrize(
    "text", ["", "0" * 25, "0" * 27, "8" + "0" * 25, "U" * 26, "0" * 25 + "I", "0" * 25 + "\n"]
)
def test_what_is_no_ulid_is_found_nowhere(text: str) -> None:
    assert ids.find_ulid(text) is None
    assert ids.find_uuid(text) is None
    assert ids.find_spelled(text) is None


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 31 + "\n"])
def test_what_is_no_hex_spelling_is_found_nowhere(text: str) -> None:
    assert ids.find_hex(text) is None


@given(moments, chances)
def test_what_belongs_to_a_thing_has_an_id_of_its_own(at_us: int, chance: int) -> None:
    of = ids.make(at_us, chance)
    found = [ids.apart(of, number) for number in range(16)]
    assert len({of, *found}) == 17
    assert {ids.moment(one) for one in found} == {at_us}
