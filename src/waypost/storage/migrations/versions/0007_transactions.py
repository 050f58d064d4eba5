"""Consumers claim events, and an API key knows whose client it was made for."""

import sqlalchemy as sa
from alembic import op

from waypost.storage.columns import IdType, Name

revision = "0007_transactions"
down_revision = "0006_flow"


def upgrade() -> None:
    op.create_table(
        "transactions",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("event_id", IdType, nullable=False),
        sa.Column("tx_key", Name, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.Column("started_us", sa.BigInteger()),
        sa.Column("ended_us", sa.BigInteger()),
        sa.Column("lease_until_us", sa.BigInteger()),
        sa.Column("output", sa.LargeBinary()),
        sa.Column("history", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "event_id", "tx_key"),
        sqlite_with_rowid=False,
    )
    held = sa.text("state = 'processing' AND lease_until_us IS NOT NULL")
    op.create_index(
        "ix_transactions_lease",
        "transactions",
        ["project_id", "tx_key", "lease_until_us"],
        sqlite_where=held,
        postgresql_where=held,
    )
    op.add_column("api_keys", sa.Column("api", sa.Text(), nullable=False, server_default="native"))
