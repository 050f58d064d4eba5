"""Events have a place in an order, subscriptions may ask for it, and keys may be blocked."""

import sqlalchemy as sa
from alembic import op

from waypost.storage.columns import IdType, Name

revision = "0012_order"
down_revision = "0011_replays"


def upgrade() -> None:
    op.add_column(
        "subscriptions", sa.Column("ordering", sa.Text(), nullable=False, server_default="none")
    )
    op.add_column(
        "subscriptions",
        sa.Column("on_order_failure", sa.Text(), nullable=False, server_default="continue"),
    )
    op.add_column(
        "subscriptions", sa.Column("unparking", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("events", sa.Column("sequence", sa.BigInteger()))
    op.add_column("queue", sa.Column("ordering_key", Name))
    op.add_column("queue", sa.Column("sequence", sa.BigInteger()))
    _create_index("ix_queue_key", ["subscription_id", "ordering_key", "sequence"])
    _create_index("ix_queue_sequence", ["subscription_id", "sequence"])
    op.create_table(
        "ordering_counters",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("name", Name, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "name"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "blocked_keys",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("subscription_id", IdType, nullable=False),
        sa.Column("ordering_key", Name, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("delivery_id", IdType, nullable=False),
        sa.Column("event_id", IdType, nullable=False),
        sa.Column("blocked_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "subscription_id", "ordering_key"),
        sqlite_with_rowid=False,
    )


def _create_index(name: str, columns: list[str]) -> None:
    """Create an index of what has a place in an order; SQLite's begins with the project."""
    numbered = sa.text("sequence IS NOT NULL")
    if op.get_context().dialect.name == "sqlite":
        op.create_index(name, "queue", ["project_id", *columns], sqlite_where=numbered)
    else:
        op.create_index(name, "queue", columns, postgresql_where=numbered)
