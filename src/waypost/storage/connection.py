"""The name under which operations know what a function of the store is handed.

They are typed by it and pass it on to the storage modules; only those know what it can do.
"""

from sqlalchemy import Connection

__all__ = ["Connection"]
