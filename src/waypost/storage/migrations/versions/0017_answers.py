"""Subscriptions have a name and tell when they were changed; answers are kept under a key."""

import sqlalchemy as sa
from alembic import op

from waypost.storage.columns import IdType, Name

revision = "0017_answers"
down_revision = "0016_sources"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("name", sa.Text(), nullable=False, server_default=""))
    op.add_column("subscriptions", sa.Column("changed_us", sa.BigInteger()))
    op.create_table(
        "answers",
        sa.Column("project_id", IdType, primary_key=True),
        sa.Column("key", Name, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_answers_expiry", "answers", ["expires_at_us"])
