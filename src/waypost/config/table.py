"""The table of settings: the fields of `Config`."""

# ruff: noqa: RUF009 - a setting's default is read here and now, so that a bad one can't exist

from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from waypost.config import values
from waypost.config.values import DAY, MIB, Listen
from waypost.model.errors import ConfigInvalid
from waypost.policy.egress import EgressRules
from waypost.storage import location
from waypost.storage.location import Location, SqliteFile
from waypost.telemetry import LOG_FORMATS, LOG_LEVELS

PREFIX: Final = "WAYPOST_"

Role = Literal["all", "api", "deliver"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

Security = Literal["starttls", "tls", "none"]
SECURITIES: Final[tuple[Security, ...]] = get_args(Security)

Partition = Literal["day", "week"]
PARTITIONS: Final[tuple[Partition, ...]] = get_args(Partition)


def _masked(_text: str) -> str:
    return "***"


def _setting(
    default: str | None,
    read: Callable[[str], Any],
    doc: str,
    *,
    unit: str = "",
    shown: Callable[[str], str] | None = None,
) -> Any:
    """Declare a setting; its default is read like any other value of it.

    `shown`: how its text is shown where it holds something secret.
    """
    return field(
        default=None if default is None else read(default),
        repr=shown is None,
        metadata={"read": read, "default": default, "doc": doc, "unit": unit, "shown": shown},
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """What this process was told, checked. Sizes are in bytes, spans in seconds."""

    database_url: str = _setting(
        "sqlite:///.waypost/waypost.db",
        values.database,
        "Where everything is kept: `sqlite:///` and the path of a file, whose folder is made when"
        " it is missing; or `postgresql://user:password@host:port/database`, with libpq's options"
        " behind a `?`, such as `sslmode=verify-full`. Where it holds no password, libpq looks in"
        " `PGPASSWORD` and in the file that `PGPASSFILE` names.",
        shown=values.shown_database,
    )
    listen: Listen = _setting(
        "127.0.0.1:8080",
        values.listen,
        "Address and port of the HTTP server; port 0 takes a free one.",
    )
    role: Role = _setting(
        "all",
        values.choice(*ROLES),
        "What the processes do: `api` serves HTTP and delivers nothing, `deliver` delivers and"
        " serves only `/healthz`, `/readyz` and `/metrics`, `all` does both. PostgreSQL alone.",
    )
    processes: int = _setting(
        "1",
        values.count(1, 64),
        "How many processes serve on the one address, watched by one more that starts again those"
        " that die. PostgreSQL alone. The other settings hold for each of them.",
    )
    admin_key: str | None = _setting(
        None,
        values.admin_key,
        "A key that may do everything, to begin with. It is not stored.",
        shown=_masked,
    )
    secret_key: bytes | None = _setting(
        None,
        values.secret_key,
        "The key that encrypts signing secrets at rest: 32 bytes in base64. Where it is not set,"
        " one is made on the first start and kept in a file beside the database; with PostgreSQL"
        " it must be set, the same for every process.",
        shown=_masked,
    )
    egress_allow: EgressRules = _setting(
        "",
        values.egress,
        "Networks beyond the public internet that deliveries may go to, on any port and without"
        " TLS: a list such as `10.0.0.0/8, 127.0.0.1/32`. A host name in it opens no address, but"
        " URLs of its subdomains may then be http and name any port.",
    )
    origin: str | None = _setting(
        None,
        values.host_name,
        "The host name by which this server introduces itself to receivers that are asked for their"
        " consent, such as `hooks.example.com`; the same for every process.",
    )
    egress_ca: Path | None = _setting(
        None, values.file, "A file of PEM certificates to trust beside the system's own."
    )
    disable_after: float = _setting(
        "5d",
        values.span(60, 366 * 86_400),
        "A subscription is disabled after this long of nothing but failures.",
        unit="seconds",
    )
    backlog_high: float = _setting(
        "15m",
        values.span(60, 366 * 86_400),
        "A system event tells of a subscription when what it is owed has waited for longer.",
        unit="seconds",
    )
    max_in_flight: int = _setting(
        "1000",
        values.count(1, 20_000),
        "Attempts that may be in flight at once, over all subscriptions.",
    )
    lane_window: int = _setting(
        "1000", values.count(1, 100_000), "Deliveries of one subscription that are held in memory."
    )
    payload_memory: int = _setting(
        "32MiB",
        values.size(MIB, 64 * 1024 * MIB),
        "Payloads of waiting deliveries that are held in memory; beyond it they are read again"
        " when they are sent.",
        unit="bytes",
    )
    transform_workers: int = _setting(
        "2",
        values.count(1, 64),
        "Transforms that may run at once, each in a process of its own. None is started before the"
        " first transform is set.",
    )
    transform_timeout: float = _setting(
        "100ms",
        values.span(0.001, 10),
        "How much of the processor's time one run of a transform may take.",
        unit="seconds",
    )
    transform_memory: int = _setting(
        "32MiB",
        values.size(4 * MIB, 1024 * MIB),
        "How much memory one run of a transform may take.",
        unit="bytes",
    )
    max_event_bytes: int = _setting(
        "256KiB", values.size(1, MIB), "The largest payload of an event.", unit="bytes"
    )
    max_batch_bytes: int = _setting(
        "8MiB", values.size(1, 64 * MIB), "The largest request for a batch of events.", unit="bytes"
    )
    idempotency_ttl: float = _setting(
        "7d",
        values.span(60, 366 * 86_400),
        "How long an idempotency key is remembered.",
        unit="seconds",
    )
    intake_memory: int = _setting(
        "64MiB",
        values.size(MIB, 64 * 1024 * MIB),
        "Bytes of requests that may be held at once; more is answered with 503.",
        unit="bytes",
    )
    intake_pending: int = _setting(
        "20000",
        values.count(1, 1_000_000),
        "Events that may wait for their commit; more is answered with 503.",
    )
    disk_reserve: int = _setting(
        "256MiB",
        values.size(0, 2**60),
        "Free disk space below which no event is accepted (507), so that what is owed can still"
        " be settled.",
        unit="bytes",
    )
    lease: float = _setting(
        "5s",
        values.span(1, 300),
        "How long a process may be silent before others take over what it delivers. PostgreSQL"
        " alone.",
        unit="seconds",
    )
    notify: bool = _setting(
        "on",
        values.switch,
        "Whether processes wake each other by LISTEN and NOTIFY; without, what one accepts and"
        " another delivers goes out up to a second later. PostgreSQL alone; `off` behind PgBouncer"
        " in transaction mode.",
    )
    prepared_statements: bool = _setting(
        "on",
        values.switch,
        "Whether statements are prepared once for each connection. PostgreSQL alone; `off` behind"
        " PgBouncer in transaction mode, unless it keeps track of them.",
    )
    database_readers: int = _setting(
        "4",
        values.count(1, 100),
        "Connections by which a process reads for people and for jobs. Beside them it has three"
        " that write, three that read what is owed, and three that keep it in touch with the"
        " others. PostgreSQL alone.",
    )
    statement_timeout: float = _setting(
        "30s",
        values.span(1, 3_600),
        "How long a statement may take before the server ends it; accepting waits less."
        " PostgreSQL alone.",
        unit="seconds",
    )
    retention: float | None = _setting(
        "90d",
        values.span_or_forever(3_600, 3_660 * DAY),
        "How long events are kept, with what became of them; `forever` keeps them all. What is"
        " still owed is kept, and so is what was diverted, by the two settings that follow.",
        unit="seconds",
    )
    diverted_retention: float | None = _setting(
        values.FOREVER,
        values.span_or_forever(3_600, 3_660 * DAY),
        "How long diverted events are kept.",
        unit="seconds",
    )
    prune_owed: bool = _setting(
        "off",
        values.switch,
        "Whether what is still owed for an event that `retention` would take is given up: it goes"
        " to the dead-letter box with the reason `expired`, and from there by"
        " `diverted_retention`. Else it is owed for as long as it takes.",
    )
    partition: Partition = _setting(
        "week",
        values.choice(*PARTITIONS),
        "What one partition of the growing tables holds, a `day` or a `week`; retention drops them"
        " whole. It holds for those that are made from now on. PostgreSQL alone.",
    )
    read_rate: int = _setting(
        "1000",
        values.count(1, 1_000_000),
        "Reads that one key may make, with bursts of twice as many.",
        unit="requests per second",
    )
    write_rate: int = _setting(
        "25000",
        values.count(1, 1_000_000),
        "Writes that one key may make, with bursts of twice as many.",
        unit="requests per second",
    )
    socotra_interval: float = _setting(
        "1s",
        values.span(0.001, DAY),
        "What one unit of the `interval` of a webhook of Socotra's API is worth, which its"
        " documents do not say.",
        unit="seconds",
    )
    http_connections: int = _setting(
        "10000", values.count(1, 100_000), "Connections that callers may have open at once."
    )
    http_connections_per_peer: int = _setting(
        "512",
        values.count(1, 100_000),
        "Connections that one IPv4 address, or one IPv6 /64, may have open at once.",
    )
    http_exempt_peers: tuple[str, ...] = _setting(
        "127.0.0.0/8, ::1/128",
        values.networks,
        "Networks that `http_connections_per_peer` does not bind, such as a proxy's: a list.",
    )
    http_idle_timeout: float = _setting(
        "75s",
        values.span(1, 3_600),
        "How long a caller's connection may be idle between requests.",
        unit="seconds",
    )
    http_head_timeout: float = _setting(
        "10s",
        values.span(1, 3_600),
        "How long a request's line and headers may take to come.",
        unit="seconds",
    )
    http_body_timeout: float = _setting(
        "30s", values.span(1, 3_600), "How long a request's body may take to come.", unit="seconds"
    )
    drain_timeout: float = _setting(
        "25s",
        values.span(0, 600),
        "How long a stop waits for attempts in flight; what is not done by then is tried again"
        " after the next start.",
        unit="seconds",
    )
    smtp_host: str | None = _setting(
        None,
        values.host,
        "The SMTP server by which operators are told of subscriptions that fail, are suspended or"
        " disabled by themselves, or have a high backlog. Without it nothing is told by e-mail. It"
        " may stand anywhere: what callers may not reach is no matter here.",
    )
    smtp_port: int = _setting("587", values.count(1, 65_535), "The SMTP server's port.")
    smtp_security: Security = _setting(
        "starttls",
        values.choice(*SECURITIES),
        "How the connection to the SMTP server is protected: `starttls`, without which nothing is"
        " sent; `tls`, from the start; or `none`.",
    )
    smtp_user: str | None = _setting(
        None, values.text, "Who logs in at the SMTP server; nobody does where it is not set."
    )
    smtp_password: str | None = _setting(
        None, values.text, "The password of `smtp_user`.", shown=_masked
    )
    smtp_from: str | None = _setting(
        None, values.address, "The address that e-mails are from, such as `waypost@example.com`."
    )
    smtp_to: tuple[str, ...] = _setting(
        "", values.addresses, "The addresses that e-mails go to: a list, of up to 20."
    )
    log_format: str = _setting(
        "auto",
        values.choice(*LOG_FORMATS),
        "`json`: one object a line; `pretty`: for people; `auto`: pretty on a terminal.",
    )
    log_level: str = _setting(
        "info", values.choice(*LOG_LEVELS), "The lowest level that is written to the log."
    )

    def __post_init__(self) -> None:
        """Check what no setting can check alone.

        Raises:
            ConfigInvalid: two settings contradict each other.
        """
        for small, large in (
            ("max_event_bytes", "max_batch_bytes"),
            ("max_batch_bytes", "intake_memory"),
        ):
            if getattr(self, small) > getattr(self, large):
                raise ConfigInvalid(f"{large} is smaller than {small}: nothing of that size fits")
        if isinstance(self.database, SqliteFile) and (self.processes > 1 or self.role != "all"):
            asked = f"--processes {self.processes}" if self.processes > 1 else f"--role {self.role}"
            raise ConfigInvalid(
                f"{asked} needs PostgreSQL: one process alone may have a SQLite file. Set"
                " WAYPOST_DATABASE_URL=postgresql://…, or leave it out"
            )

        self._check_mail()

    def _check_mail(self) -> None:
        if self.smtp_host is None:
            for name in ("smtp_user", "smtp_password", "smtp_from", "smtp_to"):
                if getattr(self, name):
                    raise ConfigInvalid(f"{name} is set, and smtp_host is not: set both, or none")
            return
        for name in ("smtp_from", "smtp_to"):
            if not getattr(self, name):
                raise ConfigInvalid(f"smtp_host is set, and {name} is not: set both, or none")
        if (self.smtp_user is None) is not (self.smtp_password is None):
            raise ConfigInvalid("of smtp_user and smtp_password, both are set or none")
        if self.smtp_user is not None and self.smtp_security == "none":
            raise ConfigInvalid(
                "smtp_security is none: the password would go over the network for all to read."
                " Set WAYPOST_SMTP_SECURITY=starttls or tls, or leave out smtp_user"
            )

    @property
    def database(self) -> Location:
        """Where the database is."""
        return location.read(self.database_url)


@dataclass(frozen=True)
class Setting:
    """One row of the table: what can be set, and how."""

    name: str
    default: str | None
    unit: str
    doc: str
    shown: Callable[[str], str] | None
    read: Callable[[str], Any]

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")


def _row(declared: Field[Any]) -> Setting:
    return Setting(name=declared.name, **declared.metadata)


SETTINGS: Final = tuple(_row(declared) for declared in fields(Config))
