"""The table of where events of others come in."""

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from waypost.storage.cluster import metadata
from waypost.storage.columns import IdType

sources = Table(
    "sources",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("mask", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    # JSON of how senders prove who they are, encrypted as a whole.
    Column("verifier", LargeBinary, nullable=False),
    # JSON of what else is set.
    Column("settings", Text, nullable=False),
    Column("challenged_us", BigInteger),
    sqlite_with_rowid=False,
)
"""Where events of others come in."""
