"""Connections to PostgreSQL, as Waypost uses them.

Ids are `bytes` here and `uuid` there: bytes are sent in binary without a type, so that the server
takes them for what the statement needs, a `uuid` or a `bytea`; and a `uuid` comes back as bytes.
"""

from typing import Any, Final

import msgspec
import psycopg
from psycopg import postgres
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus, Format
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from waypost.model.errors import ConfigInvalid

OLDEST: Final = 15
"""The oldest major version of PostgreSQL that will do."""

SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""Begins a transaction that reads one state of the database."""

SERIALIZABLE: Final = "BEGIN ISOLATION LEVEL SERIALIZABLE"
"""Begins a transaction that is as good as alone, or fails."""

BY_INDEXES: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""Settings of a session whose statements look for rows by indexes, by one plan for all times: what
statistics say of a queue is out of date by the time they are read, and a table that was empty when
the plan was made is not for long."""

_CONNECT_S: Final = 5
_READ_ONLY: Final = "default_transaction_read_only"


class PostgresOptions(msgspec.Struct, frozen=True):
    """How connections are made.

    Attributes:
        prepare: keep statements prepared and set the session up by options; False behind a pooler
            that gives each transaction another session.
        statement_timeout_s: no statement of ours takes longer.
        lock_timeout_s: none waits longer for a lock.
        idle_s: no transaction of ours stays open longer without doing anything.
        answer_s: an acceptance that takes longer is answered with 503, its outcome unknown.
    """

    prepare: bool = True
    statement_timeout_s: float = 15.0
    lock_timeout_s: float = 5.0
    idle_s: float = 15.0
    answer_s: float = 0.9


class _BytesDumper(Dumper):
    """Sends bytes as they are, of a type that the server infers."""

    format = Format.BINARY
    oid = 0

    def dump(self, obj: Any) -> Buffer | None:
        return bytes(obj)


class _BinaryDumper(_BytesDumper):
    """The same for the driver's wrapper, which SQLAlchemy puts around bytes."""

    def dump(self, obj: Any) -> Buffer | None:
        return bytes(obj.obj)


class _UuidBinaryLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class _UuidLoader(Loader):
    def load(self, data: Buffer) -> bytes:
        return bytes.fromhex(bytes(data).decode().replace("-", ""))


_adapters = psycopg.adapt.AdaptersMap(postgres.adapters)
_adapters.register_dumper(bytes, _BytesDumper)
_adapters.register_dumper(psycopg.Binary, _BinaryDumper)
_adapters.register_loader("uuid", _UuidBinaryLoader)
_adapters.register_loader("uuid", _UuidLoader)


class _BinaryCursor(psycopg.Cursor[Any]):
    """Asks for results in binary: a payload would come in hexadecimal digits else."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.format = Format.BINARY


def open_raw(
    conninfo: str, options: PostgresOptions, *, name: str, **settings: str
) -> psycopg.Connection[Any]:
    """Open a connection of the driver's, in autocommit mode.

    Args:
        conninfo: a URL or what libpq takes else.
        options: how.
        name: what the server shows it as.
        settings: more settings of the session; without `options.prepare` they are left out.

    Raises:
        psycopg.Error: it can't be opened.
    """
    named: dict[str, Any] = {
        "application_name": f"waypost {name}",
        "connect_timeout": _CONNECT_S,
        # A server that went without a word is given up within 8 seconds.
        "keepalives_idle": 4,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 8_000,
        "client_encoding": "UTF8",
    }
    # Set behind the connecting: libpq may have to find a server that takes changes, by the URL.
    read_only = options.prepare and settings.pop(_READ_ONLY, "off") == "on"
    if options.prepare:
        session = {
            "statement_timeout": f"{options.statement_timeout_s * 1_000:.0f}",
            "lock_timeout": f"{options.lock_timeout_s * 1_000:.0f}",
            "idle_in_transaction_session_timeout": f"{options.idle_s * 1_000:.0f}",
            # Statements that meet on a row are written to see what the other one did.
            "default_transaction_isolation": "read committed",
            "timezone": "UTC",
            **settings,
        }
        named["options"] = " ".join(f"-c {key}={_escaped(value)}" for key, value in session.items())
    given = conninfo_to_dict(conninfo)
    if "options" in given and "options" in named:
        # What the operator has written counts, also where it is ours.
        named["options"] = f"{named['options']} {given.pop('options')}"
    named = {name: value for name, value in named.items() if name not in given}
    connection = psycopg.connect(
        make_conninfo(conninfo, **named),
        autocommit=True,
        prepare_threshold=5 if options.prepare else None,
        context=_Context(),
        cursor_factory=_BinaryCursor,
    )
    if read_only:
        connection.execute(f"SET {_READ_ONLY} = on")
    if connection.info.server_version < OLDEST * 10_000:
        version = connection.info.server_version // 10_000
        connection.close()
        raise ConfigInvalid(f"the server is PostgreSQL {version}: Waypost needs {OLDEST} or newer")
    return connection


def _escaped(value: str) -> str:
    """Return a value as `options` takes it (libpq, "Connection Strings", options)."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def is_alive(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether the server has closed an idle connection, as far as is known here."""
    wire = connection.pgconn
    try:
        # What comes without being asked for is its last word; behind that is the end.
        wire.consume_input()
        wire.consume_input()
    except psycopg.Error:
        return False
    return wire.status == ConnStatus.OK


def takes_changes(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether transactions may change something, as far as the server has told by itself."""
    told = (b"in_hot_standby", b"default_transaction_read_only")
    return all(connection.pgconn.parameter_status(name) != b"on" for name in told)


class _Context:
    """What a new connection takes its adapters from."""

    adapters = _adapters
    connection = None


DEFAULTS: Final = PostgresOptions()
"""How connections are made unless told."""


def connect(
    conninfo: str, options: PostgresOptions = DEFAULTS, *, name: str = "tool", **settings: str
) -> Connection:
    """Open a connection for the storage modules.

    Each statement is committed by itself, unless a transaction is begun: see `SNAPSHOT` and
    `SERIALIZABLE`. The arguments are those of `open_raw`.

    Raises:
        sqlalchemy.exc.DBAPIError: it can't be opened.
        ConfigInvalid: the server is too old.
    """
    made: list[psycopg.Connection[Any]] = []

    def make() -> psycopg.Connection[Any]:
        made.append(open_raw(conninfo, options, name=name, **settings))
        return made[-1]

    engine = create_engine(
        "postgresql+psycopg://",
        creator=make,
        poolclass=StaticPool,
        pool_reset_on_return=None,
        use_native_hstore=False,
        # What is written must not stand in the log because writing it has failed.
        hide_parameters=True,
    )
    try:
        return engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    except BaseException:
        for one in made:
            one.close()
        raise


def raw(connection: Connection) -> psycopg.Connection[Any]:
    """Return the driver's own connection."""
    inner = connection.connection.driver_connection
    assert isinstance(inner, psycopg.Connection)  # noqa: S101 - `connect` opened it so
    return inner
