"""Subscriptions have content filters."""

import sqlalchemy as sa
from alembic import op

revision = "0003_filters"
down_revision = "0002_several_processes"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("filter", sa.Text()))
