"""How an endpoint wants to be called: what is sent beside every delivery, as headers."""

import base64
from typing import Any

from waypost.model.errors import InvalidInput
from waypost.policy import headers


def read(given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the authentication of an endpoint as it is kept and shown; None for none.

    Raises:
        InvalidInput: it is not in Convoy's form, or can't be obeyed.
    """
    if not given or not given.get("type"):
        return None
    kind = given["type"]
    known = {"api_key": ("header_name", "header_value"), "basic_auth": ("username", "password")}
    if kind not in known:
        raise _refusal("type", "must be api_key or basic_auth")
    extra = [name for name in given if name not in {"type", *known}]
    fields = given.get(kind)
    if extra or not isinstance(fields, dict) or set(fields) != set(known[kind]):
        raise _refusal(kind, f"must hold {' and '.join(known[kind])}")
    for name, value in fields.items():
        if not isinstance(value, str) or not value:
            raise _refusal(f"{kind}.{name}", "must be a text that is not empty")
    read_one = {"type": kind, kind: dict(fields)}
    try:
        headers.check(as_headers(read_one))
    except InvalidInput as error:
        reason = "; ".join(reason for _, reason in error.details)
        raise _refusal(kind, reason) from error
    return read_one


def as_headers(kept: dict[str, Any] | None) -> dict[str, str]:
    """Return the headers that an authentication comes to."""
    if kept is None:
        return {}
    if kept["type"] == "api_key":
        fields = kept["api_key"]
        return {fields["header_name"]: fields["header_value"]}
    fields = kept["basic_auth"]
    text = f"{fields['username']}:{fields['password']}".encode()
    return {"Authorization": f"Basic {base64.b64encode(text).decode()}"}


def _refusal(path: str, reason: str) -> InvalidInput:
    return InvalidInput(details=[(f"authentication.{path}", reason)])
