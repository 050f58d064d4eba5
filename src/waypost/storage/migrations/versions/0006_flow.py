"""Flow control: its settings, and a state of lanes that outlives their process."""

import sqlalchemy as sa
from alembic import op

from waypost.storage.columns import IdType

revision = "0006_flow"
down_revision = "0005_failures"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("flow", sa.Text()))
    op.create_table(
        "lane_state",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("subscription_id", IdType, nullable=False),
        sa.Column("breaker", sa.SmallInteger(), nullable=False),
        sa.Column("opened_until_us", sa.BigInteger(), nullable=False),
        sa.Column("openings", sa.Integer(), nullable=False),
        sa.Column("in_flight_max", sa.Integer()),
        sa.Column("waits_for", sa.Text()),
        sa.Column("waits_until_us", sa.BigInteger()),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "subscription_id"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 50},
    )
