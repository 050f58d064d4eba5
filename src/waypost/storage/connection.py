"""The name under which operations know what a function of the store is handed.

They are typed by it and pass it on to the storage modules; only those know what it can do.
"""

from collections.abc import Callable

from sqlalchemy import Connection

__all__ = ["Connection", "Write"]

Write = Callable[[Connection], None]
"""Something to be written in a transaction of somebody else's."""
