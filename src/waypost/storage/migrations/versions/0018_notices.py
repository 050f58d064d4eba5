"""Subscriptions tell who is told of them; letters go to others than the operators too."""

import sqlalchemy as sa
from alembic import op

revision = "0018_notices"
down_revision = "0017_answers"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("notices", sa.Text()))
    op.add_column("mails", sa.Column("recipient", sa.Text()))
