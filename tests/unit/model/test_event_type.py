from waypost.model.event_type import CATALOGUE_MAX, EXAMPLE_MAX, EventType


def test_a_name_is_all_that_an_entry_needs() -> None:
    assert EventType("a") == EventType("a", "", None)


def test_a_catalogue_of_lithics_62_types_fits_many_times() -> None:
    assert CATALOGUE_MAX > 62 * 10
    assert EXAMPLE_MAX < 256 * 1024
