"""The event APIs that are spoken on the wire."""

from enum import StrEnum


class Api(StrEnum):
    """Whose clients a key was made for, spelled as they expect it, or made a subscription."""

    NATIVE = "native"
    SOCOTRA = "socotra"
    BUILDABLE = "buildable"
    CONVOY = "convoy"
    STEDI = "stedi"
