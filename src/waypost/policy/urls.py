"""Receivers' URLs: read once into components, and checked when they are set.

Parsers of URLs disagree about odd forms, and every disagreement between the one that checks and
the one that connects is a way around the check. So a URL is read here and nowhere else, odd forms
are refused rather than repaired, and what connects is given the components.

Sources: RFC 3986, section 3.2; RFC 5891 with UTS #46 (non-transitional); the WHATWG URL standard
for hosts that end in a number.
"""

import re
from typing import Final, NoReturn

import idna
import msgspec

from waypost.model.errors import InvalidInput
from waypost.policy.egress import (
    PUBLIC_PORTS,
    EgressRules,
    covers,
    may_connect,
    normalise,
)

URL_MAX: Final = 2048
HOST_MAX: Final = 253
PORTS: Final = {"http": 80, "https": 443}

_URL: Final = re.compile(r"(https?)://([^/?#]*)([^#]*)(#.*)?", re.IGNORECASE | re.DOTALL)
_BLANK: Final = re.compile(
    r"[\x00-\x20\x7f-\xa0\\\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]"
)
_BRACKETED: Final = re.compile(r"\[([0-9a-fA-F:.]+)\](?::([0-9]+))?")
_NAMED: Final = re.compile(r"([^:\[\]]*)(?::([0-9]+))?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_INTERNAL: Final = (".local", ".internal", ".home.arpa", ".svc", ".cluster.local", ".localdomain")
_LOOPBACK: Final = ("127.0.0.1", "::1")


class Destination(msgspec.Struct, frozen=True):
    """Where a request goes: the components of a URL, in the form in which they are used.

    Attributes:
        scheme: `http` or `https`.
        host: ASCII, lower case, without a trailing dot; an IPv6 address without brackets.
        port: 1 to 65535.
        target: path and query as sent, never empty.
        authority: for the `Host` header: the port only where it is not the scheme's own.
    """

    scheme: str
    host: str
    port: int
    target: bytes
    authority: bytes


def parse(url: str) -> Destination:
    """Read a URL.

    Raises:
        InvalidInput: it is malformed, or in a form that parsers disagree about; its details name
            the field `url`.
    """
    if len(url) > URL_MAX:
        _refuse(f"must not be longer than {URL_MAX} characters")
    if _BLANK.search(url):
        _refuse("must not hold blanks, control characters or backslashes")
    matched = _URL.fullmatch(url)
    if matched is None:
        _refuse("must start with https:// (or http://)")
    scheme, authority, target, fragment = matched.groups()
    if fragment is not None:
        _refuse("must not have a fragment (#)")
    if "@" in authority:
        _refuse("must not hold a user name or password")
    if not target.isascii():
        _refuse("characters outside ASCII must be percent-encoded in path and query")
    scheme = scheme.lower()
    host, port_text = _split(authority)
    port = _port(port_text) if port_text is not None else PORTS[scheme]
    shown = f"[{host}]" if ":" in host else host
    return Destination(
        scheme=scheme,
        host=host,
        port=port,
        target=(target if target.startswith("/") else f"/{target}").encode("ascii"),
        authority=(shown if port == PORTS[scheme] else f"{shown}:{port}").encode("ascii"),
    )


def check(url: str, rules: EgressRules) -> Destination:
    """Read a URL that is being set, and refuse one that could never be delivered to.

    Only the form is judged, nothing is resolved or reached: the guard at the socket decides at
    every attempt whatever is said here. Outside of what the operator opened, a URL must be https,
    on port 443 or 80, to a public address or a name that can be public. A name counts as opened
    when it is listed; when it is `localhost` and a loopback address is opened; and when it is one
    that only inner networks know (a single label, `.internal`, `.local`, …) and any network is
    opened.

    Raises:
        InvalidInput: as for `parse`, or because of the rules; its details name the field `url`.
    """
    destination = parse(url)
    host, port = destination.host, destination.port
    literal = normalise(host) is not None
    if covers(host, rules) if literal else _opened(host, rules):
        return destination
    if destination.scheme != "https":
        _refuse("must use https; http is for hosts that WAYPOST_EGRESS_ALLOW opens")
    if port not in PUBLIC_PORTS:
        _refuse("must use port 443 or 80, or be at a host that WAYPOST_EGRESS_ALLOW opens")
    if _internal(host) if not literal else not may_connect(host, port, rules):
        _refuse("must be a public host, or one that WAYPOST_EGRESS_ALLOW opens")
    return destination


def _refuse(reason: str) -> NoReturn:
    raise InvalidInput(details=[("url", reason)])


def _split(authority: str) -> tuple[str, str | None]:
    """Return host (normalised) and port (as text, or None where there is none)."""
    if authority.startswith("["):
        bracketed = _BRACKETED.fullmatch(authority)
        address = normalise(bracketed[1]) if bracketed and ":" in bracketed[1] else None
        if bracketed is None or address is None:
            _refuse("has a malformed IPv6 address")
        return str(address), bracketed[2]
    named = _NAMED.fullmatch(authority)
    if named is None:
        _refuse("has a malformed host or port")
    return _host(named[1]), named[2]


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 0xFFFF:
        _refuse("must have a port from 1 to 65535")
    return int(text)


def _host(text: str) -> str:
    name = text.removesuffix(".").lower()
    labels = [_label(label) for label in name.split(".")]
    host = ".".join(labels)
    if len(host) > HOST_MAX:
        _refuse("has too long a host name")
    if _NUMBER.fullmatch(labels[-1]) and (text.endswith(".") or normalise(host) is None):
        _refuse("must spell an IPv4 address as four decimal numbers")
    return host


def _label(label: str) -> str:
    if not label.isascii():
        label = _punycode(label)
    if not _LABEL.fullmatch(label):
        _refuse("has a malformed host name")
    return label


def _punycode(label: str) -> str:
    """Return the ASCII form of one label of an internationalised name.

    A label that becomes plain ASCII (full-width digits, circled letters, soft hyphens) or several
    labels is a disguise of another host, not a name of its own.
    """
    try:
        converted = idna.encode(label, uts46=True, std3_rules=True, transitional=False).decode()
    except (idna.IDNAError, UnicodeError):
        _refuse("has a malformed international host name")
    if not converted.startswith("xn--") or "." in converted:
        _refuse("has a disguised host name")
    return converted


def _internal(host: str) -> bool:
    return "." not in host or f".{host}".endswith(_INTERNAL) or _local(host)


def _local(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _opened(host: str, rules: EgressRules) -> bool:
    if any(host == name or host.endswith(f".{name}") for name in rules.names):
        return True
    if _local(host):
        return any(covers(address, rules) for address in _LOOPBACK)
    return _internal(host) and bool(rules.allow)
