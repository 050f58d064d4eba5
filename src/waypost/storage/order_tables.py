"""The tables of what waits in an order behind something that was given up."""

from sqlalchemy import BigInteger, Column, Table, Text

from waypost.storage import surfaces
from waypost.storage.columns import BUSY_OPTIONS, IdType, Name

metadata = surfaces.metadata

blocked_keys = Table(
    "blocked_keys",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("subscription_id", IdType, primary_key=True),
    # Empty: the one order of a strict subscription.
    Column("ordering_key", Name, primary_key=True),
    # What comes behind it waits; of the event that was given up.
    Column("sequence", BigInteger, nullable=False),
    Column("delivery_id", IdType, nullable=False),
    Column("event_id", IdType, nullable=False),
    Column("blocked_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Ordering keys of which an event was given up, and that wait to be released."""

key_news = Table(
    "key_news",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("subscription_id", IdType, primary_key=True),
    Column("what", Name, primary_key=True),
    # How many keys, and what the last of them was.
    Column("count", BigInteger, nullable=False),
    Column("ordering_key", Name, nullable=False),
    Column("delivery_id", IdType),
    Column("event_id", IdType),
    Column("caused_by", Text),
    sqlite_with_rowid=False,
    postgresql_with=BUSY_OPTIONS,
)
"""Keys that were blocked or released, of which no system event has told yet; empty mostly."""
