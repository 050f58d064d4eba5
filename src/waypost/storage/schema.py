"""The tables, for both databases.

Ids are 16 bytes, `uuid` on PostgreSQL; moments are UTC microseconds in BIGINT. When a thing was
made stands in its id. `project_id` leads every primary key of what grows, and no foreign key or
unique constraint goes across projects: the tables can be distributed by it. On SQLite the tables
that grow have no hidden row number (`WITHOUT ROWID`): one tree less to write for each row. On
PostgreSQL events, deliveries and attempts are partitioned by the event's id: by its time.

A delivery is owed while it has a row in `queue`; its final settling deletes that row and inserts
one in `deliveries`. `queue` therefore holds only what is owed, however long Waypost runs.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from waypost.storage import order_tables
from waypost.storage.columns import BUSY_OPTIONS, QUEUE_OPTIONS, IdType, Name
from waypost.storage.indexing import indexes, partial
from waypost.storage.request_index import request_indexes

metadata = order_tables.metadata


projects = Table(
    "projects",
    metadata,
    Column("id", IdType, primary_key=True),
    Column("account_id", IdType, nullable=False),
    Column("name", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("strict_types", Integer, nullable=False, server_default="0"),
    Column("routing_version", BigInteger, nullable=False, server_default="1"),
    Column("deleted_at_us", BigInteger),
    # JSON of what is set of the defaults of its subscriptions.
    Column("defaults", Text),
    sqlite_with_rowid=False,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", IdType, primary_key=True),
    Column("project_id", IdType, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("expires_at_us", BigInteger),
    Column("revoked_at_us", BigInteger),
    Column("api", Text, nullable=False, server_default="native"),
    Column("permissions", Text),  # JSON, as are the tenants; NULL where there is nothing to tell
    Column("tenants", Text),
    UniqueConstraint("digest", name="uq_api_keys_digest"),
    Index("ix_api_keys_project", "project_id", "id"),
    sqlite_with_rowid=False,
)

event_types = Table(
    "event_types",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("example", LargeBinary),
    sqlite_with_rowid=False,
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("event_types", Text),
    Column("disabled_by", Text),
    Column("paused", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    # 0 in these two: not set, the project's default holds.
    Column("timeout_ms", BigInteger, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("format", Text, nullable=False),
    Column("signing", Text, nullable=False),
    Column("owner", Text),
    Column("retry_schedule", Text),
    Column("failing_since_us", BigInteger),
    Column("deleted_at_us", BigInteger),
    Column("filter", Text),
    Column("transform", Text),
    # JSON, both; of the latter while it is suspended.
    Column("failure_handling", Text),
    Column("suspension", Text),
    # JSON of what is set of its flow control.
    Column("flow", Text),
    Column("verification", Text),
    Column("verification_state", Text),
    Index("ix_subscriptions_verification", "verification_state", "project_id", "id"),
    # The version of the project's routing from which these settings hold; NULL: as far as is known.
    Column("routed_from", BigInteger),
    # Empty: as its project has it; so the next.
    Column("ordering", Text, nullable=False, server_default="none"),
    Column("on_order_failure", Text, nullable=False, server_default="continue"),
    Column("unparking", Integer, nullable=False, server_default="0"),
    Column("insecure_tls", Integer, nullable=False, server_default="0"),
    Column("api", Text, nullable=False, server_default="native"),
    # JSON of what that API keeps with it.
    Column("particulars", Text),
    # What its format goes by, in the format's own words.
    Column("format_settings", Text),
    Column("endpoint_id", IdType),
    # 1 where its event types name system events.
    Column("takes_system", SmallInteger, nullable=False, server_default="0"),
    partial("ix_subscriptions_system", "project_id", "id", only="takes_system = 1"),
    partial("ix_subscriptions_failing", "failing_since_us", only="failing_since_us IS NOT NULL"),
    # JSON; the secrets in it are encrypted.
    Column("authentication", Text),
    Column("name", Text, nullable=False, server_default=""),
    Column("changed_us", BigInteger),
    # JSON; NULL: nobody is told of it but those who subscribe to system events.
    Column("notices", Text),
    Column("verify", Text),
    sqlite_with_rowid=False,
)

former_routes = Table(
    "former_routes",
    metadata,
    Column("project_id", IdType, primary_key=True),
    # Made when these settings ended.
    Column("id", IdType, primary_key=True),
    Column("subscription_id", IdType, nullable=False),
    # They held for the versions of the project's routing from `since` (NULL: as far as is known)
    # up to `until`, itself not among them.
    Column("since", BigInteger),
    Column("until", BigInteger, nullable=False),
    Column("event_types", Text),
    Column("owner", Text),
    Column("filter", Text),
    Column("disabled_by", Text),
    Index("ix_former_routes", "project_id", "subscription_id", "until"),
    sqlite_with_rowid=False,
)
"""What subscriptions took before they were changed or deleted."""

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("subscription_id", IdType, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("scheme", Text, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("expires_at_us", BigInteger),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("type", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("attributes", LargeBinary),
    Column("routing_version", BigInteger, nullable=False),
    # The place in the order of acceptance, where the event has one: see `ordering_counters`.
    Column("sequence", BigInteger),
    *request_indexes(),
    # Every API lists by type, and a rare one would have all events looked at. It is for those alone
    # who say what all rows are: else PostgreSQL takes it for the whole key where a table is empty.
    *indexes(
        "ix_events_type",
        sqlite=("project_id", "type", "id"),
        postgresql=("type", "project_id", "id"),
        where="type <> ''",
    ),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (id)",
)

ordering_counters = Table(
    "ordering_counters",
    metadata,
    Column("project_id", IdType, primary_key=True),
    # An ordering key; empty: the counter of all events of the project.
    Column("name", Name, primary_key=True),
    Column("last", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    postgresql_with=BUSY_OPTIONS,
)
"""The last number in the order of acceptance, of each ordering key or of a whole project.

A number is never below the moment at which it was given, in UTC microseconds: those of different
counters follow each other as well, and a counter that was not used for long may be forgotten."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("event_id", IdType, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Index("ix_idempotency_keys_expiry", "expires_at_us"),
    sqlite_with_rowid=False,
)

answers = Table(
    "answers",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Index("ix_answers_expiry", "expires_at_us"),
    sqlite_with_rowid=False,
)
"""What changes of subscriptions were answered with under an idempotency key, encrypted."""

receipts = Table(
    "receipts",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("event_id", IdType, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("key_id", IdType, nullable=False),
    Column("same_body", Integer, nullable=False),
    Index("ix_receipts_project", "project_id", "id"),
    sqlite_with_rowid=False,
)

_LEASED: Final = text("state = 'processing' AND lease_until_us IS NOT NULL")

transactions = Table(
    "transactions",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("event_id", IdType, primary_key=True),
    Column("tx_key", Name, primary_key=True),
    Column("id", IdType, nullable=False),
    Column("state", Text, nullable=False),
    # Counts the claims: what is said under an earlier one is told by it.
    Column("claim", Integer, nullable=False),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("lease_until_us", BigInteger),
    # UTF-8, which may hold what a text of PostgreSQL's can't.
    Column("output", LargeBinary),
    Column("history", LargeBinary, nullable=False),
    Index(
        "ix_transactions_lease",
        *("project_id", "tx_key", "lease_until_us"),
        sqlite_where=_LEASED,
        postgresql_where=_LEASED,
    ),
    sqlite_with_rowid=False,
)
"""What consumers have claimed: at most one row for an event and a key, which makes the claim."""

queue = Table(
    "queue",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("event_id", IdType, nullable=False),
    Column("subscription_id", IdType, nullable=False),
    Column("class", SmallInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    # The job that owes it, where one does.
    Column("replay_id", IdType),
    # Those of the event. A row without a sequence has no place in any order.
    Column("ordering_key", Name),
    Column("sequence", BigInteger),
    *indexes(
        "ix_queue_lane",
        sqlite=("project_id", "subscription_id", "class", "due_us", "id"),
        postgresql=("subscription_id", "class", "due_us"),
    ),
    *indexes("ix_queue_event", sqlite=("project_id", "event_id", "id"), postgresql=("event_id",)),
    *indexes(
        "ix_queue_key",
        sqlite=("project_id", "subscription_id", "ordering_key", "sequence"),
        postgresql=("subscription_id", "ordering_key", "sequence"),
        where="sequence IS NOT NULL",
    ),
    *indexes(
        "ix_queue_sequence",
        sqlite=("project_id", "subscription_id", "sequence"),
        postgresql=("subscription_id", "sequence"),
        where="sequence IS NOT NULL",
    ),
    sqlite_with_rowid=False,
    postgresql_with=QUEUE_OPTIONS,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("event_id", IdType, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("subscription_id", IdType, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("finished_us", BigInteger, nullable=False),
    Column("reason", Text),
    # Set where the first try delivered it: that try, under the delivery's id, has no other row.
    Column("status_code", SmallInteger),
    Column("response", LargeBinary),
    Column("timings", LargeBinary),
    Column("resent", SmallInteger),
    # Few rows: of what was delivered, which is nearly all, it has none.
    *indexes(
        "ix_deliveries_missed",
        sqlite=("project_id", "state", "event_id", "id"),
        postgresql=("state", "project_id", "event_id", "id"),
        where="state <> 1",
    ),
    *indexes(
        "ix_deliveries_subscription",
        sqlite=("project_id", "subscription_id", "id"),
        postgresql=("subscription_id", "id"),
    ),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (event_id)",
)

attempts = Table(
    "attempts",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("event_id", IdType, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("delivery_id", IdType, nullable=False),
    Column("subscription_id", IdType, nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("status_code", SmallInteger, nullable=False),
    # NULL with same_as set: the response is that of the attempt `same_as` of the same event.
    Column("response", LargeBinary),
    Column("same_as", IdType),
    Column("timings", LargeBinary, nullable=False),
    Column("resent", SmallInteger, nullable=False),
    *indexes(
        "ix_attempts_subscription",
        sqlite=("project_id", "subscription_id", "id"),
        postgresql=("subscription_id", "id"),
    ),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (event_id)",
)

diverted_events = Table(
    "diverted_events",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("event_id", IdType, nullable=False),
    Column("subscription_id", IdType, nullable=False),
    Column("reason", Text, nullable=False),
    Column("diverted_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    # 1 where a system event has told of it.
    Column("told", SmallInteger, nullable=False, server_default="0"),
    partial("ix_diverted_untold", "project_id", "subscription_id", "id", only="told = 0"),
    Index("ix_diverted_subscription", "project_id", "subscription_id", "id"),
    Index("ix_diverted_event", "project_id", "event_id", "id"),
    Index("ix_diverted_time", "project_id", "subscription_id", "diverted_us", "id"),
    sqlite_with_rowid=False,
)

replays = Table(
    "replays",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("kind", Text, nullable=False),
    # The first id of all where the job is not for one subscription.
    Column("subscription_id", IdType, nullable=False),
    Column("begin_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    # The last event that was looked at: the job goes on behind it.
    Column("position", IdType, nullable=False),
    Column("state", Text, nullable=False),
    Column("owed", BigInteger, nullable=False),
    # What else was asked for, in JSON; NULL for nothing.
    Column("plan", Text),
    # Set where the event at `position` is done for the subscriptions up to this one only.
    Column("within", IdType),
    Column("looked", BigInteger, nullable=False, server_default="0"),
    Column("due_us", BigInteger, nullable=False, server_default="0"),
    Column("worked_us", BigInteger, nullable=False, server_default="0"),
    Column("stepped_us", BigInteger, nullable=False, server_default="0"),
    Column("idempotency_key", Name),
    Column("fingerprint", LargeBinary),
    # 1 where a system event has told that it is finished.
    Column("told", SmallInteger, nullable=False, server_default="0"),
    partial("ix_replays_untold", "project_id", "id", only="told = 0"),
    Index("ix_replays_state", "state", "project_id", "id"),
    Index("uq_replays_key", "project_id", "idempotency_key", unique=True),
    sqlite_with_rowid=False,
)

fan_outs = Table(
    "fan_outs",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("event_id", IdType, primary_key=True),
    # The ids of the subscriptions that matched at acceptance, one behind the other; those before
    # `position` (a count) have their delivery in the queue.
    Column("subscriptions", LargeBinary, nullable=False),
    Column("position", Integer, nullable=False),
    # Those of the event, where it has a place in an order.
    Column("ordering_key", Name),
    Column("sequence", BigInteger),
    partial(
        "ix_fan_outs_key", "project_id", "ordering_key", "sequence", only="sequence IS NOT NULL"
    ),
    partial("ix_fan_outs_sequence", "project_id", "sequence", only="sequence IS NOT NULL"),
    sqlite_with_rowid=False,
)
"""Events whose deliveries are too many for the commit that accepted them."""

lane_state = Table(
    "lane_state",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("subscription_id", IdType, primary_key=True),
    Column("breaker", SmallInteger, nullable=False),
    Column("opened_until_us", BigInteger, nullable=False),
    Column("openings", Integer, nullable=False),
    # How many attempts may be in flight while it ramps up; NULL for all.
    Column("in_flight_max", Integer),
    Column("waits_for", Text),
    Column("waits_until_us", BigInteger),
    Column("at_us", BigInteger, nullable=False),
    partial("ix_lane_state_breaker", "project_id", "subscription_id", only="breaker <> 0"),
    sqlite_with_rowid=False,
    postgresql_with=BUSY_OPTIONS,
)
"""How lanes fare, and what they wait for, where there is something to tell; about a second old."""

told = Table(
    "told",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("subscription_id", IdType, primary_key=True),
    Column("what", Name, primary_key=True),
    # Up to when it was told, UTC microseconds.
    Column("at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What system events have told of subscriptions that still is so: that they fail, say."""

mails = Table(
    "mails",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("event_id", IdType, primary_key=True),
    Column("due_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    # To whom; NULL: to the operators.
    Column("recipient", Text),
    sqlite_with_rowid=False,
)
"""System events that are still to be told by e-mail; few, and empty nearly always."""

audit = Table(
    "audit",
    metadata,
    Column("project_id", IdType, primary_key=True),
    Column("id", IdType, primary_key=True),
    Column("key_id", IdType, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    # What the key was called then.
    Column("key_name", Text),
    sqlite_with_rowid=False,
)

PARTITIONED: Final = (events, deliveries, attempts)
"""On PostgreSQL in partitions, by the id of the event."""
