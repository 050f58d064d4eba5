"""Convoy's signatures, verified as its receivers do: by code that is not the server's."""

import base64
import hashlib
import hmac
from collections.abc import Mapping

HASHES = {"SHA256": hashlib.sha256, "SHA512": hashlib.sha512}


def signed(secret: str, content: bytes, hash_: str = "SHA256", encoding: str = "hex") -> str:
    """Return the signature of some content."""
    digest = hmac.new(secret.encode(), content, HASHES[hash_]).digest()
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def good_secrets(headers: Mapping[str, str], body: bytes, secrets: list[str]) -> list[str]:
    """Return which of some secrets have signed a request in the advanced form."""
    moment, *parts = headers["x-convoy-signature"].split(",")
    assert moment.startswith("t=")
    found = {part.partition("=")[2] for part in parts}
    content = f"{moment[2:]},".encode() + body
    return [secret for secret in secrets if signed(secret, content) in found]
