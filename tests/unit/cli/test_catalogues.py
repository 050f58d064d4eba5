"""Catalogues of vendors are those that their clients know."""

from typing import get_args, get_type_hints

import pytest
from lithic.types.event_list_params import EventListParams

from waypost.cli.catalogues import TYPES, Vendor, catalogue
from waypost.policy.events import is_type


def test_lithics_are_all_that_its_client_knows() -> None:
    listed = get_args(get_type_hints(EventListParams)["event_types"])[0]
    assert set(TYPES[Vendor.LITHIC]) == set(get_args(listed))


@pytest.mark.parametrize("vendor", list(Vendor))
def test_each_is_a_type_here_and_named_once(vendor: Vendor) -> None:
    names = [entry["name"] for entry in catalogue(vendor)["event_types"]]
    assert all(map(is_type, names))
    assert len(set(names)) == len(names) >= 10
