"""The tables of what single surfaces keep beside what all of them share."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from waypost.storage import cluster
from waypost.storage.columns import IdType, Name

metadata = cluster.metadata

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

records = Table(
    "records",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("kind", Name, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("parent", IdType),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    Column("deleted_us", BigInteger),
    Index("ix_records_parent", "project_id", "kind", "parent", "id"),
    sqlite_with_rowid=False,
)
"""What other surfaces keep beside ours, encrypted."""
