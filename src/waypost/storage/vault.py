"""The vault: secrets as the database holds them, encrypted by AES-256-GCM.

An envelope is `v1:` + kid + `:` + nonce + ciphertext: the kid is the fingerprint of the secret key
that it was sealed under, in 16 hexadecimal digits, the nonce 12 random bytes. The place that a
secret belongs to is authenticated with it, so that an envelope opens nowhere else.

Source: NIST SP 800-38D; a random nonce allows 2**32 envelopes under one key.
"""

from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from waypost.clock import Entropy
from waypost.model.errors import ConfigInvalid
from waypost.storage.key_file import KEY_BYTES, fingerprint

_VERSION: Final = b"v1:"
_KID_CHARS: Final = 16
_NONCE_BYTES: Final = 12
_NONCE_AT: Final = len(_VERSION) + _KID_CHARS + 1
_CIPHERTEXT_AT: Final = _NONCE_AT + _NONCE_BYTES


class Vault:
    """Seals with the present secret key; opens what that or an earlier one sealed.

    Safe for use by many threads as far as its `entropy` is.
    """

    def __init__(self, key: bytes, entropy: Entropy, *, earlier: Iterable[bytes] = ()) -> None:
        """Take the keyring.

        Args:
            key: the present secret key, 32 bytes.
            entropy: makes the nonces.
            earlier: secret keys of 32 bytes that old envelopes may have been sealed under.

        Raises:
            ConfigInvalid: a key is not 32 bytes long, or all of its bytes are the same.
        """
        self._ring = {_kid(one): AESGCM(one) for one in (*earlier, key)}
        self._kid = _kid(key)
        self._entropy = entropy

    def seal(self, secret: bytes, place: bytes) -> bytes:
        """Return the envelope of a secret that belongs to `place`."""
        nonce = self._entropy.bits(8 * _NONCE_BYTES).to_bytes(_NONCE_BYTES, "big")
        return b"%b%b:%b%b" % (
            _VERSION,
            self._kid,
            nonce,
            self._ring[self._kid].encrypt(nonce, secret, place),
        )

    def open(self, envelope: bytes, place: bytes) -> bytes:
        """Return the secret in an envelope.

        Raises:
            ConfigInvalid: the secret key that it was sealed under is not on the keyring; or the
                envelope is damaged, or was made for another place.
        """
        kid = envelope[len(_VERSION) : _NONCE_AT - 1]
        if not envelope.startswith(_VERSION) or envelope[_NONCE_AT - 1 : _NONCE_AT] != b":":
            raise ConfigInvalid(_DAMAGED)
        cipher = self._ring.get(kid)
        if cipher is None:
            raise ConfigInvalid(
                "a secret in the database was encrypted under the secret key with the fingerprint"
                f" {kid.decode('ascii', 'replace')}, which was not given"
            )
        try:
            return cipher.decrypt(
                envelope[_NONCE_AT:_CIPHERTEXT_AT], envelope[_CIPHERTEXT_AT:], place
            )
        except (InvalidTag, ValueError) as error:
            raise ConfigInvalid(_DAMAGED) from error


_DAMAGED: Final = "a secret in the database is damaged, or was moved there from another place"


def _kid(key: bytes) -> bytes:
    if len(key) != KEY_BYTES or len(set(key)) == 1:
        raise ConfigInvalid(f"a secret key must be {KEY_BYTES} random bytes")
    return fingerprint(key).encode()
