"""The figures of a group: a sum that never falls."""

import os
from collections.abc import Iterator

import pytest

from waypost.server.figures import SLOT_BYTES, Figures, GroupReadings
from waypost.telemetry import MEASURES, Exporter, Reading


@pytest.fixture
def figures() -> Iterator[Figures]:
    made = Figures.make(2)
    yield made
    os.close(made.descriptor)


def member(figures: Figures, slot: int, **own: Reading) -> GroupReadings:
    readings: dict[str, Reading] = {one.name: own.get(one.name, lambda: 0.0) for one in MEASURES}
    return GroupReadings(figures, slot, readings)


def test_any_process_tells_the_sum_of_all(figures: Figures) -> None:
    member(figures, 1, events_accepted=lambda: 3, lanes=lambda: 2).publish()
    asked = member(figures, 2, events_accepted=lambda: 4, lanes=lambda: 5)
    asked.look()
    page = Exporter(asked.readings()).render().decode()
    assert "waypost_events_accepted_total 7.0" in page
    assert "waypost_lanes 7.0" in page


def test_labels_are_summed_one_by_one(figures: Figures) -> None:
    member(figures, 1, requests_refused=lambda: {"429": 1.0, "503": 2.0}).publish()
    asked = member(figures, 2, requests_refused=lambda: {"503": 5.0})
    asked.look()
    page = Exporter(asked.readings()).render().decode()
    assert 'waypost_requests_refused_total{status="429"} 1.0' in page
    assert 'waypost_requests_refused_total{status="503"} 7.0' in page


def test_what_all_look_at_together_is_not_counted_twice(figures: Figures) -> None:
    member(figures, 1, queue_depth=lambda: 9).publish()
    asked = member(figures, 2, queue_depth=lambda: 0)
    asked.look()
    assert "waypost_queue_depth 9.0" in Exporter(asked.readings()).render().decode()


def test_what_a_dead_process_had_counted_stays_and_what_it_had_open_goes(figures: Figures) -> None:
    for _ in range(2):
        member(figures, 1, events_accepted=lambda: 3, lanes=lambda: 2).publish()
        figures.bury(1)
    asked = member(figures, 2)
    asked.look()
    page = Exporter(asked.readings()).render().decode()
    assert "waypost_events_accepted_total 6.0" in page
    assert "waypost_lanes 0.0" in page


def test_what_was_told_is_counted_even_if_the_teller_dies(figures: Figures) -> None:
    told = member(figures, 1, events_accepted=lambda: 3)
    told.look()
    figures.bury(1)
    asked = member(figures, 2)
    asked.look()
    assert "waypost_events_accepted_total 3.0" in Exporter(asked.readings()).render().decode()


def test_what_is_half_written_is_not_believed(figures: Figures) -> None:
    figures.write(1, {"lanes": 4.0})
    assert figures.read(1) == {"lanes": 4.0}
    os.pwrite(figures.descriptor, b"\xff", SLOT_BYTES + 12)
    assert figures.read(1) == {"lanes": 4.0}, "the last that was whole"


def test_a_measure_that_nobody_can_read_is_left_out(figures: Figures) -> None:
    asked = member(figures, 1, disk_free_bytes=dict)
    asked.look()
    assert "waypost_disk_free_bytes" in Exporter(asked.readings()).render().decode()
    assert "waypost_disk_free_bytes 0" not in Exporter(asked.readings()).render().decode()


def test_a_full_page_has_room() -> None:
    """Every measure, with every status that there is."""
    figures = Figures.make(1)
    table = {str(status): 1e18 for status in range(400, 600)}
    page = {one.name: dict(table) if one.label == "status" else 1e18 for one in MEASURES}
    figures.write(1, page)
    figures.write(0, {})
    assert figures.read(1) == page
    os.close(figures.descriptor)
