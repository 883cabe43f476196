"""A small signed world for the lab: keys, zones and messages made with dkimpy alone."""

import base64
from dataclasses import dataclass, field
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

_HEAD = "$TTL 2\n@ SOA ns1.lab.test. host.lab.test. 1 2 2 2 2\n@ NS ns1.lab.test.\n"
_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_ED = ed25519.Ed25519PrivateKey.generate()


@dataclass
class World:
    """Writes zones and signs messages for customer.test with the key at sb1."""

    directory: Path
    published: list[str] = field(default_factory=list)

    def write(self, origin: str, *lines: str) -> None:
        zones = self.directory / "zones"
        zones.mkdir(exist_ok=True)
        made = zones / f"{origin}.new"
        made.write_text(_HEAD + "\n".join(lines) + "\n")
        made.rename(zones / f"{origin}.zone")

    def write_file(self, name: str, text: str) -> None:
        made = self.directory / f"{name}.new"
        made.write_text(text)
        made.rename(self.directory / name)

    def publish_customer(
        self, *more: str, spf: str = "v=spf1 ip4:127.0.0.1 -all"
    ) -> None:
        self.write(
            "customer.test",
            '_dmarc TXT "v=DMARC1; p=reject"',
            f'bounce TXT "{spf}"',
            f"sb1._domainkey TXT {quoted(rsa_record())}",
            f"ed1._domainkey TXT {quoted(ed25519_record())}",
            *more,
        )

    def message(
        self, author: str = "Ann <ann@customer.test>", body: str = "Hello"
    ) -> bytes:
        return (
            f"From: {author}\r\nTo: bob@dest.test\r\nSubject: Hi\r\n"
            f"Message-ID: <1@customer.test>\r\n\r\n{body}\r\n"
        ).encode()

    def signed(self, octets: bytes, domain: str = "customer.test") -> bytes:
        return dkim.sign(octets, b"sb1", domain.encode(), _pem()) + octets

    def signed_ed25519(self, octets: bytes) -> bytes:
        seed = _ED.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        made = dkim.sign(
            octets,
            b"ed1",
            b"customer.test",
            base64.b64encode(seed),
            signature_algorithm=b"ed25519-sha256",
        )
        return made + octets


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def rsa_record() -> str:
    octets = _RSA.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return f"v=DKIM1; k=rsa; p={base64.b64encode(octets).decode()}"


def ed25519_record() -> str:
    octets = _ED.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(octets).decode()}"


def quoted(text: str) -> str:
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


def _pem() -> bytes:
    return _RSA.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
