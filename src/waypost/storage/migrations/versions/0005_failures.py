"""Projects have defaults for the settings of their subscriptions."""

import sqlalchemy as sa
from alembic import op

revision = "0005_failures"
down_revision = "0004_transforms"


def upgrade() -> None:
    op.add_column("projects", sa.Column("defaults", sa.Text()))
