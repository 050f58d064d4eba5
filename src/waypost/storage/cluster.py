"""The tables by which processes share a database: facts of it, who lives, who sends for what."""

from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, SmallInteger, Table, Text

from waypost.storage.columns import BUSY_OPTIONS, IdType

metadata = MetaData()

facts = Table(
    "facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Single facts about this database: the fingerprint of the secret key, the default project."""

workers = Table(
    "workers",
    metadata,
    Column("id", IdType, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("listen", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("lease_until_us", BigInteger, nullable=False),
    Column("delivered", BigInteger, nullable=False, server_default="0"),
    Column("rate", Float, nullable=False, server_default="0"),
    Column("lag_ms", BigInteger, nullable=False, server_default="0"),
    Column("in_flight", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
    postgresql_with=BUSY_OPTIONS,
)
"""The processes that live: each holds its row until `lease_until_us`, on the database's clock."""

shards = Table(
    "shards",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    # A worker that lives; free where it is null.
    Column("owner", IdType),
    # Counts the owners: what was sent under an earlier one is told by it.
    Column("epoch", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    postgresql_with=BUSY_OPTIONS,
)

config_version = Table(
    "config_version",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    postgresql_with=BUSY_OPTIONS,
)
"""One row, whose id is 1: how many changes of configuration there were."""

config_changes = Table(
    "config_changes",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("project_id", IdType, nullable=False),
    Column("subject", IdType),
    Column("at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What was changed, for the processes that have not seen it yet."""
