"""Subscriptions may have a transform."""

import sqlalchemy as sa
from alembic import op

revision = "0004_transforms"
down_revision = "0003_filters"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("transform", sa.Text()))
