"""The tables, for both databases.

Ids are 16 bytes, moments are UTC microseconds in BIGINT. When a thing was made stands in its id.
`project_id` leads every primary key of what grows. On SQLite the tables that grow have no hidden
row number (`WITHOUT ROWID`): one tree less to write for each row.

A delivery is owed while it has a row in `queue`; its final settling deletes that row and inserts
one in `deliveries`. `queue` therefore holds only what is owed, however long Waypost runs.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

projects = Table(
    "projects",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("account_id", LargeBinary(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("strict_types", Integer, nullable=False, server_default="0"),
    Column("routing_version", BigInteger, nullable=False, server_default="1"),
    Column("deleted_at_us", BigInteger),
    sqlite_with_rowid=False,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("project_id", LargeBinary(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("expires_at_us", BigInteger),
    Column("revoked_at_us", BigInteger),
    UniqueConstraint("digest", name="uq_api_keys_digest"),
    Index("ix_api_keys_project", "project_id", "id"),
    sqlite_with_rowid=False,
)

event_types = Table(
    "event_types",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("example", LargeBinary),
    sqlite_with_rowid=False,
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("id", LargeBinary(16), primary_key=True),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("event_types", Text),
    Column("disabled_by", Text),
    Column("paused", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("format", Text, nullable=False),
    Column("signing", Text, nullable=False),
    Column("owner", Text),
    Column("retry_schedule", Text),
    Column("failing_since_us", BigInteger),
    Column("deleted_at_us", BigInteger),
    Column("transform", Text),
    sqlite_with_rowid=False,
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("subscription_id", LargeBinary(16), primary_key=True),
    Column("id", LargeBinary(16), primary_key=True),
    Column("scheme", Text, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("expires_at_us", BigInteger),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("id", LargeBinary(16), primary_key=True),
    Column("type", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("attributes", LargeBinary),
    Column("routing_version", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("event_id", LargeBinary(16), nullable=False),
    Column("fingerprint", LargeBinary(16), nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Index("ix_idempotency_keys_expiry", "expires_at_us"),
    sqlite_with_rowid=False,
)

receipts = Table(
    "receipts",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("event_id", LargeBinary(16), primary_key=True),
    Column("id", LargeBinary(16), primary_key=True),
    Column("key_id", LargeBinary(16), nullable=False),
    Column("same_body", Integer, nullable=False),
    sqlite_with_rowid=False,
)

queue = Table(
    "queue",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("id", LargeBinary(16), primary_key=True),
    Column("event_id", LargeBinary(16), nullable=False),
    Column("subscription_id", LargeBinary(16), nullable=False),
    Column("class", SmallInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Index("ix_queue_lane", "project_id", "subscription_id", "class", "due_us", "id"),
    Index("ix_queue_event", "project_id", "event_id", "id"),
    sqlite_with_rowid=False,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("event_id", LargeBinary(16), primary_key=True),
    Column("id", LargeBinary(16), primary_key=True),
    Column("subscription_id", LargeBinary(16), nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("finished_us", BigInteger, nullable=False),
    Column("reason", Text),
    # Set where the first try delivered it: that try, under the delivery's id, has no other row.
    Column("status_code", SmallInteger),
    Column("response", LargeBinary),
    Column("timings", LargeBinary),
    Column("resent", SmallInteger),
    Index("ix_deliveries_subscription", "project_id", "subscription_id", "id"),
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("event_id", LargeBinary(16), primary_key=True),
    Column("id", LargeBinary(16), primary_key=True),
    Column("delivery_id", LargeBinary(16), nullable=False),
    Column("subscription_id", LargeBinary(16), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("status_code", SmallInteger, nullable=False),
    # NULL with same_as set: the response is that of the attempt `same_as` of the same event.
    Column("response", LargeBinary),
    Column("same_as", LargeBinary(16)),
    Column("timings", LargeBinary, nullable=False),
    Column("resent", SmallInteger, nullable=False),
    Index("ix_attempts_subscription", "project_id", "subscription_id", "id"),
    sqlite_with_rowid=False,
)

diverted_events = Table(
    "diverted_events",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("id", LargeBinary(16), primary_key=True),
    Column("event_id", LargeBinary(16), nullable=False),
    Column("subscription_id", LargeBinary(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("diverted_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Index("ix_diverted_subscription", "project_id", "subscription_id", "id"),
    Index("ix_diverted_event", "project_id", "event_id", "id"),
    sqlite_with_rowid=False,
)

replays = Table(
    "replays",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("id", LargeBinary(16), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subscription_id", LargeBinary(16), nullable=False),
    Column("begin_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    # The last event that was looked at: the job goes on behind it.
    Column("position", LargeBinary(16), nullable=False),
    Column("state", Text, nullable=False),
    Column("owed", BigInteger, nullable=False),
    Index("ix_replays_state", "state", "project_id", "id"),
    sqlite_with_rowid=False,
)

fan_outs = Table(
    "fan_outs",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("event_id", LargeBinary(16), primary_key=True),
    # The ids of the subscriptions that matched at acceptance, one behind the other; those before
    # `position` (a count) have their delivery in the queue.
    Column("subscriptions", LargeBinary, nullable=False),
    Column("position", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Events whose deliveries are too many for the commit that accepted them."""

audit = Table(
    "audit",
    metadata,
    Column("project_id", LargeBinary(16), primary_key=True),
    Column("id", LargeBinary(16), primary_key=True),
    Column("key_id", LargeBinary(16), nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    sqlite_with_rowid=False,
)

facts = Table(
    "facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Single facts about this database: the fingerprint of the secret key, the default project."""
