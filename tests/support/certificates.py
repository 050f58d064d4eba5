"""Certificates for receivers on loopback, made as the tests need them."""

import datetime as dt
import ssl
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


class Authority:
    """A certificate authority, with its certificate in a file.

    Attributes:
        file: its own certificate, PEM.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("Waypost's test authority")
        self.file = folder / "authority.pem"
        certificate = self._certificate(self._name, self._key, self._name, self._key, DAY)
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        signed = certificate.add_extension(constraint, critical=True).sign(
            self._key, hashes.SHA256()
        )
        self.file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def serve(self, *names: str, ends: dt.timedelta = DAY, own: bool = False) -> ssl.SSLContext:
        """Return a server's context for names and addresses.

        Args:
            names: DNS names, with or without a star, and literal addresses.
            ends: when the certificate ends, from now; a negative one ended already.
            own: signed by itself instead of by the authority.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named("receiver")
        issuer, signer = (subject, key) if own else (self._name, self._key)
        certificate = self._certificate(subject, key, issuer, signer, ends)
        alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
        signed = certificate.add_extension(alternatives, critical=False).sign(
            signer, hashes.SHA256()
        )
        file = self._folder / "receiver.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + signed.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _certificate(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        issuer: x509.Name,
        signer: ec.EllipticCurvePrivateKey,
        ends: dt.timedelta,
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + ends)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
