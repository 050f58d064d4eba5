"""Subscriptions may have their URL verified."""

import sqlalchemy as sa
from alembic import op

revision = "0010_verification"
down_revision = "0007_transactions"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("verification", sa.Text()))
    op.add_column("subscriptions", sa.Column("verification_state", sa.Text()))
    op.create_index(
        "ix_subscriptions_verification",
        "subscriptions",
        ["verification_state", "project_id", "id"],
    )
