import json
import uuid
from collections import Counter

from bench.probes import CROCKFORD, Places, Probe, probes, read_ulid, ulid

ONE = uuid.UUID("01920000-0000-7000-8000-000000000001")
PLACES = Places(
    project=ONE,
    deep=ONE,
    subscription=f"ep_{ONE}",
    endpoint=ulid(ONE),
    webhook=str(ONE),
    begin="2026-01-02T00:00:00Z",
    end="2026-01-03T00:00:00Z",
)


def test_ids_are_spelled_as_ulids_and_read_again() -> None:
    assert ulid(uuid.UUID(int=0)) == "0" * 26
    assert ulid(uuid.UUID(int=2**128 - 1)) == "7" + "Z" * 25
    assert read_ulid(ulid(ONE)) == ONE
    assert set(ulid(ONE)) <= set(CROCKFORD)


def test_every_api_is_asked_for_its_lists() -> None:
    found = probes(PLACES)
    names = Counter((probe.api, probe.name) for probe in found)
    assert names.most_common(1)[0][1] == 1, "each has a row of its own"
    apis = {"native", "lithic", "socotra", "buildable", "convoy", "stedi"}
    assert {probe.api for probe in found} == apis
    assert all(probe.path.startswith("/") for probe in found)


def test_a_cursor_is_asked_for_where_it_is_used() -> None:
    for probe in probes(PLACES):
        assert ("{cursor}" in probe.path) == bool(probe.prior), probe
        assert "{" not in probe.prior


def test_a_probe_goes_on_where_the_answer_says() -> None:
    probe = Probe(
        "stedi", "deep", "/events?pageToken={cursor}", "/events", lambda a: str(a["next"])
    )
    assert probe.after(json.dumps({"next": "n"}).encode()) == Probe(
        "stedi", "deep", "/events?pageToken=n"
    )
