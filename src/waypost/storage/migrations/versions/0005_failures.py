"""Subscriptions have failure handling and may be suspended; projects have defaults for them."""

import sqlalchemy as sa
from alembic import op

revision = "0005_failures"
down_revision = "0004_transforms"


def upgrade() -> None:
    op.add_column("projects", sa.Column("defaults", sa.Text()))
    op.add_column("subscriptions", sa.Column("failure_handling", sa.Text()))
    op.add_column("subscriptions", sa.Column("suspension", sa.Text()))
