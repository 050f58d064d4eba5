"""The first tables."""

import sqlalchemy as sa
from alembic import op

from waypost.storage.columns import IdType, Name

revision = "0001_first_tables"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", IdType, nullable=False),
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger()),
        sa.Column("revoked_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_api_keys_project", "api_keys", ["project_id", "id"])
    op.create_table(
        "attempts",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("event_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("delivery_id", IdType, nullable=False),
        sa.Column("subscription_id", IdType, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("status_code", sa.SmallInteger(), nullable=False),
        sa.Column("response", sa.LargeBinary()),
        sa.Column("same_as", IdType),
        sa.Column("timings", sa.LargeBinary(), nullable=False),
        sa.Column("resent", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "event_id", "id"),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (event_id)",
    )
    _create_index(
        "ix_attempts_subscription",
        "attempts",
        sqlite=["project_id", "subscription_id", "id"],
        postgresql=["subscription_id", "id"],
    )
    op.create_table(
        "audit",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("key_id", IdType, nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "deliveries",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("event_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("subscription_id", IdType, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("finished_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("status_code", sa.SmallInteger()),
        sa.Column("response", sa.LargeBinary()),
        sa.Column("timings", sa.LargeBinary()),
        sa.Column("resent", sa.SmallInteger()),
        sa.PrimaryKeyConstraint("project_id", "event_id", "id"),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (event_id)",
    )
    _create_index(
        "ix_deliveries_subscription",
        "deliveries",
        sqlite=["project_id", "subscription_id", "id"],
        postgresql=["subscription_id", "id"],
    )
    op.create_table(
        "diverted_events",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("event_id", IdType, nullable=False),
        sa.Column("subscription_id", IdType, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("diverted_us", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_diverted_event", "diverted_events", ["project_id", "event_id", "id"])
    op.create_index(
        "ix_diverted_subscription", "diverted_events", ["project_id", "subscription_id", "id"]
    )
    op.create_table(
        "event_types",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("name", Name, nullable=False),
        sa.Column("description", sa.Text(), nullable=False, server_default=""),
        sa.Column("example", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("project_id", "name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("attributes", sa.LargeBinary()),
        sa.Column("routing_version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "id"),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (id)",
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fan_outs",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("event_id", IdType, nullable=False),
        sa.Column("subscriptions", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "event_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("key", Name, nullable=False),
        sa.Column("event_id", IdType, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_idempotency_keys_expiry", "idempotency_keys", ["expires_at_us"])
    op.create_table(
        "projects",
        sa.Column("id", IdType, nullable=False),
        sa.Column("account_id", IdType, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("strict_types", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("routing_version", sa.BigInteger(), nullable=False, server_default="1"),
        sa.Column("deleted_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "queue",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("event_id", IdType, nullable=False),
        sa.Column("subscription_id", IdType, nullable=False),
        sa.Column("class", sa.SmallInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "id"),
        sqlite_with_rowid=False,
        postgresql_with={
            "autovacuum_vacuum_scale_factor": 0.02,
            "autovacuum_vacuum_threshold": 20_000,
            "autovacuum_vacuum_cost_delay": 0,
        },
    )
    _create_index(
        "ix_queue_event",
        "queue",
        sqlite=["project_id", "event_id", "id"],
        postgresql=["event_id"],
    )
    _create_index(
        "ix_queue_lane",
        "queue",
        sqlite=["project_id", "subscription_id", "class", "due_us", "id"],
        postgresql=["subscription_id", "class", "due_us"],
    )
    op.create_table(
        "receipts",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("event_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("key_id", IdType, nullable=False),
        sa.Column("same_body", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "event_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "replays",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subscription_id", IdType, nullable=False),
        sa.Column("begin_us", sa.BigInteger(), nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=False),
        sa.Column("position", IdType, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("owed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_replays_state", "replays", ["state", "project_id", "id"])
    op.create_table(
        "signing_keys",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("subscription_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("project_id", "subscription_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "subscriptions",
        sa.Column("project_id", IdType, nullable=False),
        sa.Column("id", IdType, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("event_types", sa.Text()),
        sa.Column("disabled_by", sa.Text()),
        sa.Column("paused", sa.Integer(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("timeout_ms", sa.BigInteger(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("signing", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("retry_schedule", sa.Text()),
        sa.Column("failing_since_us", sa.BigInteger()),
        sa.Column("deleted_at_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("project_id", "id"),
        sqlite_with_rowid=False,
    )


def _create_index(name: str, table: str, *, sqlite: list[str], postgresql: list[str]) -> None:
    is_shared = op.get_context().dialect.name == "postgresql"
    op.create_index(name, table, postgresql if is_shared else sqlite)
