"""DKIM keys: made, imported, loaded for signing, and their DNS text form.

Private halves are PKCS#8 DER and never shown; the public half is the base64 of the `p=`
tag (RFC 6376 §3.6.1; Ed25519 by RFC 8463 §4). RSA and Ed25519 are OpenSSL's.
"""

import base64
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from soboo_mta.mail.errors import FormatError

MIN_RSA_BITS = 1_024  # RFC 8301 §3.2: verifiers refuse less
WEAK_RSA_BITS = 2_048  # RFC 8301 §3.2: signers should use no less
MAX_RSA_BITS = 4_096  # RFC 8301 §3.2: verifiers need not do more
MIN_EXPONENT = 65_537  # NIST SP 800-56B §6.2: a careful verifier refuses less
_NO_PRIVATE_KEY = {
    b"BEGIN PUBLIC KEY": "this is the public half: give the private key",
    b"BEGIN RSA PUBLIC KEY": "this is the public half: give the private key",
    b"BEGIN CERTIFICATE": "this is a certificate: give the private key",
}
_PKCS1_V15 = padding.PKCS1v15()
_SHA256 = Prehashed(hashes.SHA256())
_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_FOLDING = re.compile(r"[ \t\r\n]+")


class Algorithm(StrEnum):
    """The `a=` tag of RFC 6376 §3.3 and RFC 8463."""

    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """`private` is PKCS#8 DER, kept out of the repr; `p` the base64 of the p= tag."""

    private: bytes = field(repr=False)
    p: str
    algorithm: Algorithm


class SigningKey(Protocol):
    """A private key that signs; RSA and Ed25519 are its two kinds."""

    @property
    def algorithm(self) -> Algorithm: ...

    def sign(self, digest: bytes) -> bytes:
        """Return the signature over `digest`, 32 octets of SHA-256. Releases the GIL."""
        ...


def generate_rsa(bits: int = 2_048) -> KeyPair:
    """Return a fresh RSA key; 2,048 bits take some 0.1 s of CPU."""
    return _rsa_pair(rsa.generate_private_key(public_exponent=65_537, key_size=bits))


def generate_ed25519() -> KeyPair:
    """Return a fresh Ed25519 key."""
    return _ed25519_pair(Ed25519PrivateKey.generate())


def import_private(pem: bytes) -> KeyPair:
    """Return the key in `pem` (PKCS#1 or PKCS#8, unencrypted), checked for soundness.

    Raises FormatError for what is no such key, for RSA outside 1,024 to 4,096 bits or
    with a small public exponent.
    """
    for label, sentence in _NO_PRIVATE_KEY.items():
        if label in pem and b"PRIVATE KEY" not in pem:
            raise FormatError(sentence)
    try:
        key = serialization.load_pem_private_key(pem.strip(), password=None)
    except TypeError as error:
        raise FormatError(
            "the private key is encrypted: give it without a passphrase"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(
            "this is no PEM private key: give the whole file, from its BEGIN line to "
            "its END line"
        ) from error
    if isinstance(key, Ed25519PrivateKey):
        return _ed25519_pair(key)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise FormatError("DKIM keys are RSA or Ed25519: make one of these")
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise FormatError(
            f"the RSA key has {key.key_size} bits: verifiers take {MIN_RSA_BITS} to "
            f"{MAX_RSA_BITS}, make one of 2048"
        )
    exponent = key.public_key().public_numbers().e
    if exponent < MIN_EXPONENT:
        raise FormatError(
            f"the RSA key has the public exponent {exponent}: some verifiers refuse it,"
            f" make one with {MIN_EXPONENT}"
        )
    return _rsa_pair(key)


def load_signing_key(private: bytes, algorithm: Algorithm) -> SigningKey:
    """Return the key in PKCS#8 DER ready to sign; raises FormatError when it is none.

    Soundness is not checked again (35 ms for RSA-2048): a key is checked when it is
    made or imported, and sealed since.
    """
    try:
        key = serialization.load_der_private_key(
            private, password=None, unsafe_skip_rsa_key_validation=True
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FormatError("the stored private key is damaged") from error
    match algorithm, key:
        case Algorithm.RSA, rsa.RSAPrivateKey():
            return _RsaKey(key)
        case Algorithm.ED25519, Ed25519PrivateKey():
            return _Ed25519Key(key)
    raise FormatError(f"the stored private key is not for {algorithm}")


def dkim_txt(p: str, algorithm: Algorithm) -> str:
    """The TXT value that publishes `p`; the empty `p` revokes (RFC 6376 §3.6.1)."""
    kind = "rsa" if algorithm == Algorithm.RSA else "ed25519"
    return f"v=DKIM1; k={kind}; p={p}"


def txt_p(txt: str) -> tuple[str, dict[str, str]]:
    """Return the p= of a key record, white space taken out, and all its tags.

    Raises FormatError for what is no key record: no p=, a tag twice, another version.
    The base64 is returned as published, right or wrong.
    """
    tags: dict[str, str] = {}
    for spec in txt.strip().removesuffix(";").split(";"):
        name, equals, value = spec.partition("=")
        name = name.strip()
        if not equals or not _TAG_NAME.fullmatch(name):
            raise FormatError(f"{spec.strip()[:40]!r} is no tag: write name=value")
        if name in tags:
            raise FormatError(f"the tag {name}= stands twice: keep one")
        tags[name] = value.strip()
    if "p" not in tags:
        raise FormatError("the key record has no p= tag")
    if tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
        raise FormatError("the key record must begin with v=DKIM1")
    return _FOLDING.sub("", tags["p"]), tags


def public_exponent(p: str) -> int:
    """Return the public exponent of the RSA key in a p= tag; FormatError for none."""
    return _rsa_public(p).public_numbers().e


def public_bits(p: str, algorithm: Algorithm) -> int:
    """Return the size of the key that a p= tag holds; FormatError where it holds none.

    RSA keys come as SubjectPublicKeyInfo, as ours do, or bare (RFC 6376 §3.6.1).
    """
    if algorithm is Algorithm.ED25519:
        return 8 * len(_ed25519_public(p).public_bytes_raw())
    return _rsa_public(p).key_size


def is_signature(
    signature: bytes, digest: bytes, *, p: str, algorithm: Algorithm
) -> bool:
    """Whether `signature` is over `digest`, 32 octets of SHA-256, by the key in a p= tag.

    FormatError where that is no key, or an RSA key outside 1,024 to 4,096 bits. Releases
    the GIL.
    """
    try:
        if algorithm is Algorithm.ED25519:
            _ed25519_public(p).verify(signature, digest)
        else:
            _sized(_rsa_public(p)).verify(signature, digest, _PKCS1_V15, _SHA256)
    except InvalidSignature:
        return False
    return True


def _sized(key: rsa.RSAPublicKey) -> rsa.RSAPublicKey:
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise FormatError(
            f"the RSA key has {key.key_size} bits: {MIN_RSA_BITS} to {MAX_RSA_BITS} count"
        )
    return key


def _ed25519_public(p: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(p, validate=True))
    except ValueError as error:
        raise FormatError("the p= tag holds no public key") from error


def _rsa_public(p: str) -> rsa.RSAPublicKey:
    try:
        key = serialization.load_der_public_key(base64.b64decode(p, validate=True))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError("the p= tag holds no public key") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise FormatError("the p= tag holds a key of another kind")
    return key


class _RsaKey:
    """RSASSA-PKCS1-v1_5 (RFC 6376 §3.3.1)."""

    __slots__ = ("_key",)
    algorithm = Algorithm.RSA

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    def sign(self, digest: bytes) -> bytes:
        return self._key.sign(digest, _PKCS1_V15, _SHA256)


class _Ed25519Key:
    """PureEdDSA over the SHA-256 digest (RFC 8463 §3)."""

    __slots__ = ("_key",)
    algorithm = Algorithm.ED25519

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, digest: bytes) -> bytes:
        return self._key.sign(digest)


def _rsa_pair(key: rsa.RSAPrivateKey) -> KeyPair:
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _pair(key, public, Algorithm.RSA)


def _ed25519_pair(key: Ed25519PrivateKey) -> KeyPair:
    return _pair(key, key.public_key().public_bytes_raw(), Algorithm.ED25519)


def _pair(
    key: rsa.RSAPrivateKey | Ed25519PrivateKey, public: bytes, algorithm: Algorithm
) -> KeyPair:
    private = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return KeyPair(
        private=private, p=base64.b64encode(public).decode(), algorithm=algorithm
    )
