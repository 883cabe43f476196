"""Certificates that sinks show at STARTTLS: good ones for any name, and bad ones.

Owns a certificate authority that lives as long as the lab and is trusted by nobody but who
loads its file (RFC 5280). A good certificate is made for the name that the client asks
for by SNI (RFC 6066 §3), and for loopback where it asks for none.
"""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from soboo_mta.lab.rules.rule import TlsFault

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANOTHER = ("another-host.invalid",)
_VALID = timedelta(days=30)
_NAMES_KEPT = 256


class Certificates:
    """Makes contexts for servers; `authority_file` is what a client has to trust."""

    def __init__(
        self, directory: Path, *, hostname: str, addresses: tuple[str, ...]
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.authority_file = directory / "ca.pem"
        self._directory = directory
        self._own_names = (hostname, *addresses, *_LOOPBACK)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._authority_key = ec.generate_private_key(ec.SECP256R1())
        self._authority = self._make_authority()
        self.authority_file.write_bytes(self._authority.public_bytes(Encoding.PEM))
        self._good_for = lru_cache(_NAMES_KEPT)(self._make_good)
        self._bad = lru_cache(len(TlsFault))(self._make_bad)

    def good(self) -> ssl.SSLContext:
        """A context whose certificate is right for whatever name is asked for."""
        context = self._good_for("")
        context.sni_callback = self._choose
        return context

    def bad(self, fault: TlsFault) -> ssl.SSLContext:
        """A context whose certificate has one fault; HANDSHAKE needs none."""
        return self._bad(fault)

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: object
    ) -> None:
        if name:
            connection.context = self._good_for(name.lower())

    def _make_good(self, name: str) -> ssl.SSLContext:
        names = tuple(dict.fromkeys((*self._own_names, *((name,) if name else ()))))
        return self._context(self._certificate(names, until=_VALID))

    def _make_bad(self, fault: TlsFault) -> ssl.SSLContext:
        match fault:
            case TlsFault.EXPIRED:
                made = self._certificate(self._own_names, until=timedelta(days=-1))
            case TlsFault.WRONG_NAME:
                made = self._certificate(_ANOTHER, until=_VALID)
            case _:
                made = self._certificate(self._own_names, until=_VALID, by_itself=True)
        return self._context(made)

    def _context(self, certificate: x509.Certificate) -> ssl.SSLContext:
        file = self._directory / f"{certificate.serial_number:x}.pem"
        file.touch(mode=0o600)
        file.write_bytes(
            certificate.public_bytes(Encoding.PEM)
            + self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        file.unlink()
        return context

    def _make_authority(self) -> x509.Certificate:
        name = _named("soboo-mta lab authority")
        return (
            _dated(_VALID)
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._authority_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_AUTHORITY_USE, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(
                    self._authority_key.public_key()
                ),
                critical=False,
            )
            .sign(self._authority_key, hashes.SHA256())
        )

    def _certificate(
        self, names: tuple[str, ...], *, until: timedelta, by_itself: bool = False
    ) -> x509.Certificate:
        subject = _named(names[0])
        signer = self._key if by_itself else self._authority_key
        return (
            _dated(until)
            .subject_name(subject)
            .issuer_name(subject if by_itself else self._authority.subject)
            .public_key(self._key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([_general(name) for name in names]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
            .sign(signer, hashes.SHA256())
        )


_AUTHORITY_USE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _dated(until: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)  # the client's clock decides: the system's, not a port
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _VALID)
        .not_valid_after(now + until)
    )


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
