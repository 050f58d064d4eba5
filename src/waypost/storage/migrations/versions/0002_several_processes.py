"""What several processes on one database know of each other."""

import sqlalchemy as sa
from alembic import op

from waypost.storage.columns import IdType

revision = "0002_several_processes"
down_revision = "0001_first_tables"


def upgrade() -> None:
    roomy = {"fillfactor": 50}
    op.create_table(
        "workers",
        sa.Column("id", IdType, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("listen", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.Column("delivered", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("rate", sa.Float(), nullable=False, server_default="0"),
        sa.Column("lag_ms", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("in_flight", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
        postgresql_with=roomy,
    )
    op.create_table(
        "shards",
        sa.Column("shard", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("owner", IdType),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shard"),
        sqlite_with_rowid=False,
        postgresql_with=roomy,
    )
    rows = ", ".join(f"({shard}, 0)" for shard in range(256))
    op.execute(f"INSERT INTO shards (shard, epoch) VALUES {rows}")
    op.create_table(
        "config_version",
        sa.Column("id", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
        postgresql_with=roomy,
    )
    op.execute("INSERT INTO config_version (id, version) VALUES (1, 0)")
    op.create_table(
        "config_changes",
        sa.Column("version", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("subject", IdType),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
        sqlite_with_rowid=False,
    )
