"""Every setting, in one table: the fields of `Config`.

A setting named `max_event_bytes` is `WAYPOST_MAX_EVENT_BYTES` in the environment,
`max_event_bytes` in a TOML file and `--max-event-bytes` on the command line. A flag goes before
the environment, the environment before the file, and the file before the default; what is not
given at one place says nothing there, and an empty value is a value. This module alone reads the
environment.
"""

# ruff: noqa: RUF009 - a setting's default is read here and now, so that a bad one can't exist

import base64
import binascii
import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from waypost.model.errors import ConfigInvalid
from waypost.policy.egress import EgressRules, parse_allow
from waypost.telemetry import LOG_FORMATS, LOG_LEVELS

PREFIX: Final = "WAYPOST_"
FILE_VARIABLE: Final = "WAYPOST_CONFIG"
DEFAULT_FILE: Final = Path("waypost.toml")
SECRET_KEY_BYTES: Final = 32

_SQLITE: Final = "sqlite:///"
_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_SIZES: Final = {"": 1, "b": 1, "kib": _KIB, "mib": _MIB, "gib": 1024 * _MIB}
_SPANS: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]*)", re.ASCII)
_ADMIN_KEY: Final = re.compile(r"[!-~]{16,256}", re.ASCII)


@dataclass(frozen=True)
class Listen:
    """An address to listen on. Port 0: any free one."""

    host: str
    port: int

    def at(self, port: int) -> str:
        """Return host:port with another port, an IPv6 host in brackets."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


def _listen(text: str) -> Listen:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("is not host:port, such as 127.0.0.1:8080 or [::1]:8080")
    return Listen(host, int(port))


def _database(text: str) -> str:
    if not text.startswith("sqlite:"):
        scheme = text.partition(":")[0]
        raise ValueError(
            f"names the database {scheme!r}: Waypost keeps its data in SQLite so far;"
            " give sqlite:///path/to/file.db"
        )
    path = text.removeprefix(_SQLITE)
    if path == text or not path or path == ":memory:" or "?" in path:
        raise ValueError(
            "is not sqlite:/// and the path of a file:"
            " sqlite:///relative.db or sqlite:////absolute.db"
        )
    return text


def _egress(text: str) -> EgressRules:
    try:
        return parse_allow(text)
    except ConfigInvalid as error:
        raise ValueError(f"is refused: {error.message}") from error


def _networks(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(entry)) for entry in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"is no list of networks such as 10.0.0.0/8: {error}") from error


def _secret_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("is not base64") from error
    if len(key) != SECRET_KEY_BYTES:
        raise ValueError(f"holds {len(key)} bytes instead of {SECRET_KEY_BYTES}")
    return key


def _admin_key(text: str) -> str:
    if _ADMIN_KEY.fullmatch(text) is None:
        raise ValueError("is not 16 to 256 visible ASCII characters")
    return text


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise ValueError(f"names no file: {text!r}")
    return Path(text)


def _choice(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is {text!r}; it is one of {', '.join(choices)}")
        return text

    return read


def _count(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal():
            raise ValueError(f"is not a whole number: {text!r}")
        return int(_within(int(text), least, most))

    return read


def _size(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        return int(_within(_quantity(text, _SIZES, "bytes, as 4096 or 256KiB"), least, most))

    return read


def _span(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        return _within(_quantity(text, _SPANS, "seconds, as 20 or 20s, 5m, 7d"), least, most)

    return read


def _quantity(text: str, units: Mapping[str, float], expected: str) -> float:
    match = _QUANTITY.fullmatch(text.strip().lower())
    if match is None or match[2] not in units:
        raise ValueError(f"is not a number of {expected}: {text!r}")
    return float(match[1]) * units[match[2]]


def _within(value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise ValueError(f"is {value:g}; it is at least {least:g} and at most {most:g}")
    return value


def _setting(
    default: str | None,
    read: Callable[[str], Any],
    doc: str,
    *,
    unit: str = "",
    secret: bool = False,
) -> Any:
    """Declare a setting; its default is read like any other value of it."""
    return field(
        default=None if default is None else read(default),
        repr=not secret,
        metadata={"read": read, "default": default, "doc": doc, "unit": unit, "secret": secret},
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """What this process was told, checked. Sizes are in bytes, spans in seconds."""

    database_url: str = _setting(
        "sqlite:///.waypost/waypost.db",
        _database,
        "Where everything is kept. The folder is made when it is missing.",
    )
    listen: Listen = _setting(
        "127.0.0.1:8080",
        _listen,
        "Address and port of the HTTP server; port 0 takes a free one.",
    )
    admin_key: str | None = _setting(
        None,
        _admin_key,
        "A key that may do everything, to begin with. It is not stored.",
        secret=True,
    )
    secret_key: bytes | None = _setting(
        None,
        _secret_key,
        "The key that encrypts signing secrets at rest: 32 bytes in base64. Where it is not set,"
        " one is made on the first start and kept in a file beside the database.",
        secret=True,
    )
    egress_allow: EgressRules = _setting(
        "",
        _egress,
        "Networks beyond the public internet that deliveries may go to, on any port and without"
        " TLS: a list such as `10.0.0.0/8, 127.0.0.1/32`. A host name in it opens no address, but"
        " URLs of its subdomains may then be http and name any port.",
    )
    egress_ca: Path | None = _setting(
        None, _file, "A file of PEM certificates to trust beside the system's own."
    )
    disable_after: float = _setting(
        "5d",
        _span(60, 366 * 86_400),
        "A subscription is disabled after this long of nothing but failures.",
        unit="seconds",
    )
    max_in_flight: int = _setting(
        "1000", _count(1, 20_000), "Attempts that may be in flight at once, over all subscriptions."
    )
    lane_window: int = _setting(
        "1000", _count(1, 100_000), "Deliveries of one subscription that are held in memory."
    )
    payload_memory: int = _setting(
        "32MiB",
        _size(_MIB, 64 * 1024 * _MIB),
        "Payloads of waiting deliveries that are held in memory; beyond it they are read again"
        " when they are sent.",
        unit="bytes",
    )
    transform_workers: int = _setting(
        "2",
        _count(1, 64),
        "Transforms that may run at once, each in a process of its own. None is started before the"
        " first transform is set.",
    )
    transform_timeout: float = _setting(
        "100ms",
        _span(0.001, 10),
        "How much of the processor's time one run of a transform may take.",
        unit="seconds",
    )
    transform_memory: int = _setting(
        "32MiB",
        _size(4 * _MIB, 1024 * _MIB),
        "How much memory one run of a transform may take.",
        unit="bytes",
    )
    max_event_bytes: int = _setting(
        "256KiB", _size(1, _MIB), "The largest payload of an event.", unit="bytes"
    )
    max_batch_bytes: int = _setting(
        "8MiB", _size(1, 64 * _MIB), "The largest request for a batch of events.", unit="bytes"
    )
    idempotency_ttl: float = _setting(
        "7d",
        _span(60, 366 * 86_400),
        "How long an idempotency key is remembered.",
        unit="seconds",
    )
    intake_memory: int = _setting(
        "64MiB",
        _size(_MIB, 64 * 1024 * _MIB),
        "Bytes of requests that may be held at once; more is answered with 503.",
        unit="bytes",
    )
    intake_pending: int = _setting(
        "20000",
        _count(1, 1_000_000),
        "Events that may wait for their commit; more is answered with 503.",
    )
    disk_reserve: int = _setting(
        "256MiB",
        _size(0, 2**60),
        "Free disk space below which no event is accepted (507), so that what is owed can still"
        " be settled.",
        unit="bytes",
    )
    read_rate: int = _setting(
        "1000",
        _count(1, 1_000_000),
        "Reads that one key may make, with bursts of twice as many.",
        unit="requests per second",
    )
    write_rate: int = _setting(
        "25000",
        _count(1, 1_000_000),
        "Writes that one key may make, with bursts of twice as many.",
        unit="requests per second",
    )
    http_connections: int = _setting(
        "10000", _count(1, 100_000), "Connections that callers may have open at once."
    )
    http_connections_per_peer: int = _setting(
        "512",
        _count(1, 100_000),
        "Connections that one IPv4 address, or one IPv6 /64, may have open at once.",
    )
    http_exempt_peers: tuple[str, ...] = _setting(
        "127.0.0.0/8, ::1/128",
        _networks,
        "Networks that `http_connections_per_peer` does not bind, such as a proxy's: a list.",
    )
    http_idle_timeout: float = _setting(
        "75s",
        _span(1, 3_600),
        "How long a caller's connection may be idle between requests.",
        unit="seconds",
    )
    http_head_timeout: float = _setting(
        "10s",
        _span(1, 3_600),
        "How long a request's line and headers may take to come.",
        unit="seconds",
    )
    http_body_timeout: float = _setting(
        "30s", _span(1, 3_600), "How long a request's body may take to come.", unit="seconds"
    )
    drain_timeout: float = _setting(
        "25s",
        _span(0, 600),
        "How long a stop waits for attempts in flight; what is not done by then is tried again"
        " after the next start.",
        unit="seconds",
    )
    log_format: str = _setting(
        "auto",
        _choice(*LOG_FORMATS),
        "`json`: one object a line; `pretty`: for people; `auto`: pretty on a terminal.",
    )
    log_level: str = _setting(
        "info", _choice(*LOG_LEVELS), "The lowest level that is written to the log."
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

    @property
    def database(self) -> Path:
        """The database's file."""
        return Path(self.database_url.removeprefix(_SQLITE))


@dataclass(frozen=True)
class Setting:
    """One row of the table: what can be set, and how."""

    name: str
    default: str | None
    unit: str
    doc: str
    secret: bool
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


@dataclass(frozen=True)
class Given:
    """A value that somebody gave: as it was written, and where."""

    text: str
    origin: str


@dataclass(frozen=True)
class Settings:
    """A checked configuration, and where each part of it comes from.

    Attributes:
        given: the settings that are not left to their defaults.
        unknown: variables that look like settings and are none; a platform may have set them.
    """

    config: Config
    given: Mapping[str, Given]
    unknown: tuple[str, ...]

    def text(self, setting: Setting) -> str:
        """Return the value in force as people write it; a secret masked."""
        given = self.given.get(setting.name)
        if given is None:
            return setting.default or ""
        return "***" if setting.secret else given.text

    def origin(self, setting: Setting) -> str:
        """Return where the value in force comes from."""
        given = self.given.get(setting.name)
        return "default" if given is None else given.origin


def load(
    flags: Mapping[str, str | None] | None = None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Read the configuration.

    Args:
        flags: values by setting; None for a flag that was not given.
        file: a TOML file; else the one that `WAYPOST_CONFIG` names, else `waypost.toml` in the
            current folder where there is one.
        environment: variables; else the process's own.

    Raises:
        ConfigInvalid: a value is wrong, or a file holds something that is no setting.
    """
    environment = os.environ if environment is None else environment
    given = {
        **_from_file(_find_file(file, environment)),
        **_from_environment(environment),
        **_from_flags(flags or {}),
    }
    values = {row.name: _value(row, given[row.name]) for row in SETTINGS if row.name in given}
    known = {FILE_VARIABLE, *(row.variable for row in SETTINGS)}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    return Settings(Config(**values), given, tuple(unknown))


def _value(row: Setting, given: Given) -> Any:
    try:
        return row.read(given.text)
    except ValueError as error:
        raise ConfigInvalid(f"{given.origin} {error}") from error


def _from_flags(flags: Mapping[str, str | None]) -> dict[str, Given]:
    return {
        row.name: Given(text, row.flag)
        for row in SETTINGS
        if (text := flags.get(row.name)) is not None
    }


def _from_environment(environment: Mapping[str, str]) -> dict[str, Given]:
    return {
        row.name: Given(environment[row.variable], row.variable)
        for row in SETTINGS
        if row.variable in environment
    }


def _find_file(file: Path | None, environment: Mapping[str, str]) -> Path | None:
    if file is not None:
        return file
    if FILE_VARIABLE in environment:
        return Path(environment[FILE_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _from_file(file: Path | None) -> dict[str, Given]:
    if file is None:
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigInvalid(f"the settings file {file} can't be read: {error}") from error
    names = [row.name for row in SETTINGS]
    for name in content.keys() - set(names):
        near = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigInvalid(f"{file}: {name!r} is no setting{hint}")
    return {
        name: Given(_toml_text(name, value, file), f"{name} in {file}")
        for name, value in content.items()
    }


def _toml_text(name: str, value: Any, file: Path) -> str:
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str | int | float) for part in parts):
        raise ConfigInvalid(f"{name} in {file} is neither a text nor a number")
    return ", ".join(str(part) for part in parts)
