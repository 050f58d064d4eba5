"""Events of others come in at sources, and subscriptions may prove who they are to receivers."""

import sqlalchemy as sa
from alembic import op

from waypost.storage.columns import IdType

revision = "0016_sources"
down_revision = "0015_system_events"


def upgrade() -> None:
    op.create_table(
        "sources",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("mask", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("verifier", sa.LargeBinary(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("challenged_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("project_id", "id"),
        sqlite_with_rowid=False,
    )
    op.add_column("subscriptions", sa.Column("authentication", sa.Text()))
