"""Subscriptions have content filters."""

import sqlalchemy as sa
from alembic import op

revision = "0002_filters"
down_revision = "0001_first_tables"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("filter", sa.Text()))
