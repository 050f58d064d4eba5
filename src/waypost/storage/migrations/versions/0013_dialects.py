"""Subscriptions know in which API they were made; keys may be good for several projects."""

import sqlalchemy as sa
from alembic import op

revision = "0013_dialects"
down_revision = "0010_verification"


def upgrade() -> None:
    op.add_column(
        "subscriptions", sa.Column("insecure_tls", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column(
        "subscriptions", sa.Column("api", sa.Text(), nullable=False, server_default="native")
    )
    op.add_column("subscriptions", sa.Column("particulars", sa.Text()))
    op.add_column("api_keys", sa.Column("permissions", sa.Text()))
    op.add_column("api_keys", sa.Column("tenants", sa.Text()))
