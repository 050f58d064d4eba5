"""Replays of what a filter selects, and what it takes to explain an event."""

import sqlalchemy as sa
from alembic import op

from waypost.storage.columns import IdType, Name

revision = "0011_replays"
down_revision = "0010_verification"


def upgrade() -> None:
    for column in (
        sa.Column("plan", sa.Text()),
        sa.Column("within", IdType),
        sa.Column("looked", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("due_us", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("worked_us", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("stepped_us", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("idempotency_key", Name),
        sa.Column("fingerprint", sa.LargeBinary()),
    ):
        op.add_column("replays", column)
    op.create_index("uq_replays_key", "replays", ["project_id", "idempotency_key"], unique=True)
    op.add_column("queue", sa.Column("replay_id", IdType))
    op.add_column("audit", sa.Column("key_name", sa.Text()))
    op.add_column("subscriptions", sa.Column("routed_from", sa.BigInteger()))
    op.create_table(
        "former_routes",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("subscription_id", IdType, nullable=False),
        sa.Column("since", sa.BigInteger()),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("event_types", sa.Text()),
        sa.Column("owner", sa.Text()),
        sa.Column("filter", sa.Text()),
        sa.Column("disabled_by", sa.Text()),
        sa.PrimaryKeyConstraint("project_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_former_routes", "former_routes", ["project_id", "subscription_id", "until"])
