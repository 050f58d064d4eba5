"""Subscriptions know in which API they were made; keys may be good for several projects."""

import sqlalchemy as sa
from alembic import op

revision = "0013_dialects"
down_revision = "0012_order"


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
    op.create_index(
        "ix_diverted_time",
        "diverted_events",
        ["project_id", "subscription_id", "diverted_us", "id"],
    )
    if op.get_context().dialect.name == "sqlite":
        op.create_index(
            "ix_events_request",
            "events",
            [
                "project_id",
                sa.text(
                    "substr(attributes, instr(attributes, x'aa726571756573745f6964') + 11, 38)"
                ),
            ],
            sqlite_where=sa.text("instr(attributes, x'aa726571756573745f6964') > 0"),
        )
    else:
        place = "position('\\xaa726571756573745f6964'::bytea IN attributes)"
        op.create_index(
            "ix_events_request",
            "events",
            [sa.text(f"substring(attributes FROM {place} + 11 FOR 38)")],
            postgresql_where=sa.text(f"{place} > 0"),
        )
