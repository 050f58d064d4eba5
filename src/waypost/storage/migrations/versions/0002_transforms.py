"""Subscriptions may have a transform."""

import sqlalchemy as sa
from alembic import op

revision = "0002_transforms"
down_revision = "0001_first_tables"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("transform", sa.Text()))
