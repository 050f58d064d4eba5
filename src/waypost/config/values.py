"""How the text of a setting is read. Each reader raises `ValueError` with what is wrong."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from waypost.model.errors import ConfigInvalid
from waypost.policy.egress import EgressRules, parse_allow
from waypost.storage import location

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
DAY: Final = 86_400.0
SECRET_KEY_BYTES: Final = 32
FOREVER: Final = "forever"

_SIZES: Final = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": GIB}
_SPANS: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": DAY}
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]*)", re.ASCII)
_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", re.ASCII)
_TEXT_MAX: Final = 256
_ADDRESSES_MAX: Final = 20
_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", re.ASCII
)
_ADMIN_KEY: Final = re.compile(r"[!-~]{16,256}", re.ASCII)


@dataclass(frozen=True)
class Listen:
    """An address to listen on. Port 0: any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as it was written."""
        return self.at(self.port)

    def at(self, port: int) -> str:
        """Return host:port with another port, an IPv6 host in brackets."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


def listen(text: str) -> Listen:
    """Read an address to listen on."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("is not host:port, such as 127.0.0.1:8080 or [::1]:8080")
    return Listen(host, int(port))


def database(text: str) -> str:
    """Read a database's URL, which stays as it was written."""
    location.read(text)
    return text


def shown_database(text: str) -> str:
    """Return a database's URL without its password."""
    return str(location.read(text)) if text.startswith("postgres") else text


def egress(text: str) -> EgressRules:
    """Read networks and hosts that deliveries may go to."""
    try:
        return parse_allow(text)
    except ConfigInvalid as error:
        raise ValueError(f"is refused: {error.message}") from error


def networks(text: str) -> tuple[str, ...]:
    """Read a list of networks."""
    try:
        return tuple(str(ip_network(entry)) for entry in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"is no list of networks such as 10.0.0.0/8: {error}") from error


def secret_key(text: str) -> bytes:
    """Read a secret key."""
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("is not base64") from error
    if len(key) != SECRET_KEY_BYTES:
        raise ValueError(f"holds {len(key)} bytes instead of {SECRET_KEY_BYTES}")
    return key


def host_name(text: str) -> str:
    """Read the name of a host."""
    if _HOST_NAME.fullmatch(text.lower()) is None:
        raise ValueError("is no host name such as hooks.example.com")
    return text.lower()


def host(text: str) -> str:
    """Read a host: its name, or an address."""
    try:
        return str(ip_address(text))
    except ValueError:
        return host_name(text)


def text(given: str) -> str:
    """Read a text of visible characters, and spaces between."""
    if not given.isprintable() or not 0 < len(given) <= _TEXT_MAX:
        raise ValueError(f"is not 1 to {_TEXT_MAX} visible characters")
    return given


def address(text: str) -> str:
    """Read an address of e-mail."""
    if _ADDRESS.fullmatch(text) is None:
        raise ValueError("is no address such as waypost@example.com")
    return text


def addresses(text: str) -> tuple[str, ...]:
    """Read a list of addresses of e-mail."""
    found = tuple(dict.fromkeys(address(one) for one in text.replace(",", " ").split()))
    if len(found) > _ADDRESSES_MAX:
        raise ValueError(f"names {len(found)} addresses; it may name {_ADDRESSES_MAX}")
    return found


def admin_key(text: str) -> str:
    """Read an admin key."""
    if _ADMIN_KEY.fullmatch(text) is None:
        raise ValueError("is not 16 to 256 visible ASCII characters")
    return text


def file(text: str) -> Path:
    """Read the name of a file that exists."""
    if not Path(text).is_file():
        raise ValueError(f"names no file: {text!r}")
    return Path(text)


def choice(*choices: str) -> Callable[[str], str]:
    """Return what reads one of some words."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is {text!r}; it is one of {', '.join(choices)}")
        return text

    return read


def switch(text: str) -> bool:
    """Read `on` or `off`."""
    return choice("on", "off")(text) == "on"


def count(least: int, most: int) -> Callable[[str], int]:
    """Return what reads a whole number."""

    def read(text: str) -> int:
        if not text.isdecimal():
            raise ValueError(f"is not a whole number: {text!r}")
        return int(_within(int(text), least, most))

    return read


def size(least: int, most: int) -> Callable[[str], int]:
    """Return what reads a number of bytes."""

    def read(text: str) -> int:
        return int(_within(_quantity(text, _SIZES, "bytes, as 4096 or 256KiB"), least, most))

    return read


def span(least: float, most: float) -> Callable[[str], float]:
    """Return what reads a number of seconds."""

    def read(text: str) -> float:
        return _within(_quantity(text, _SPANS, "seconds, as 20 or 20s, 5m, 7d"), least, most)

    return read


def span_or_forever(least: float, most: float) -> Callable[[str], float | None]:
    """Return what reads a number of seconds, or `forever` as None."""
    read_span = span(least, most)

    def read(text: str) -> float | None:
        return None if text.strip().lower() == FOREVER else read_span(text)

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
