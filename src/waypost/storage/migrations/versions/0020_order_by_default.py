"""Order and verification may be left to the project; great fan-outs keep a place; news of keys."""

import sqlalchemy as sa
from alembic import op

from waypost.storage.columns import BUSY_OPTIONS, IdType, Name

revision = "0020_order_by_default"
down_revision = "0019_lists"

_MODE = {
    "sqlite": "json_extract(verification, '$.mode')",
    "postgresql": "CAST(verification AS jsonb) ->> 'mode'",
}


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("verify", sa.Text()))
    mode = _MODE[op.get_context().dialect.name]
    op.execute(f"UPDATE subscriptions SET verify = {mode} WHERE verification IS NOT NULL")
    # Until now null was kept as what is built in; nobody has meant more by that.
    op.execute("UPDATE subscriptions SET ordering = '' WHERE ordering = 'none'")
    op.execute("UPDATE subscriptions SET on_order_failure = '' WHERE on_order_failure = 'continue'")
    op.add_column("fan_outs", sa.Column("ordering_key", Name))
    op.add_column("fan_outs", sa.Column("sequence", sa.BigInteger()))
    numbered = sa.text("sequence IS NOT NULL")
    for name, columns in (
        ("ix_fan_outs_key", ["project_id", "ordering_key", "sequence"]),
        ("ix_fan_outs_sequence", ["project_id", "sequence"]),
    ):
        op.create_index(name, "fan_outs", columns, sqlite_where=numbered, postgresql_where=numbered)
    op.create_table(
        "key_news",
        sa.Column("project_id", IdType, primary_key=True),
        sa.Column("subscription_id", IdType, primary_key=True),
        sa.Column("what", Name, primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("ordering_key", Name, nullable=False),
        sa.Column("delivery_id", IdType),
        sa.Column("event_id", IdType),
        sa.Column("caused_by", sa.Text()),
        sqlite_with_rowid=False,
        postgresql_with=BUSY_OPTIONS,
    )
