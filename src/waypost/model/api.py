"""The APIs that are spoken here: keys and subscriptions are made by one of them."""

from enum import StrEnum


class Api(StrEnum):
    """One of them; whatever was made by one is seen by all as far as it has its shape."""

    NATIVE = "native"
    SOCOTRA = "socotra"
    BUILDABLE = "buildable"
    CONVOY = "convoy"
    STEDI = "stedi"
