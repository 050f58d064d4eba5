"""What other surfaces keep beside ours; how a format is set; repeated keys by their own ids."""

import sqlalchemy as sa
from alembic import op

from waypost.storage.columns import IdType, Name

revision = "0014_records"
down_revision = "0013_dialects"


def upgrade() -> None:
    op.create_table(
        "records",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("kind", Name, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("parent", IdType),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("deleted_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("project_id", "kind", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_records_parent", "records", ["project_id", "kind", "parent", "id"])
    op.add_column("subscriptions", sa.Column("format_settings", sa.Text()))
    op.add_column("subscriptions", sa.Column("endpoint_id", IdType))
    op.create_index("ix_receipts_project", "receipts", ["project_id", "id"])
