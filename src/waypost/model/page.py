"""Pages: a bounded part of a list, and the position it starts from."""

from typing import Final, Generic, TypeVar

import msgspec

from waypost.model.ids import Id

T = TypeVar("T")

PAGE_SIZE_DEFAULT: Final = 50


class PageRequest(msgspec.Struct, frozen=True):
    """Which part of a list is asked for; lists run from newest to oldest.

    Attributes:
        size: how many items at most.
        older_than: a position; only items after it in the list (older ones).
        newer_than: a position; only items before it in the list (newer ones). With this alone, the
            page holds the items adjacent to the position.
        begin_us: only items made at or after this moment, UTC microseconds.
        end_us: only items made before this moment, UTC microseconds.
    """

    size: int = PAGE_SIZE_DEFAULT
    older_than: Id | None = None
    newer_than: Id | None = None
    begin_us: int | None = None
    end_us: int | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One part of a list, newest first. `has_more`: further items in the direction asked for."""

    items: list[T]
    has_more: bool
