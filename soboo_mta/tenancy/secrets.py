"""The master key and all that hangs on it: sealed private halves, credential hashes, VERP.

Owns the one secret of an installation and the ways it is used; never stores or logs any.
Sealing is an AES-256-GCM envelope (NIST SP 800-38D): a fresh data key for each value,
itself sealed under a key derived from the master (RFC 5869), bound to a context so that
a value moved to another row does not open.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MASTER_OCTETS: Final = 32
_SECRET_OCTETS: Final = 20  # 160 bits; 32 letters that survive a telephone
_TOKEN_OCTETS: Final = 15  # 120 bits; 24 letters of one DNS label
_NONCE_OCTETS: Final = 12
_WRAPPED_OCTETS: Final = _NONCE_OCTETS + MASTER_OCTETS + 16  # nonce, data key, tag
_VERSION: Final = b"\x01"
_MAX_VERP_VERSION: Final = 31
_PUT_BACK: Final = "put back the one this store was made with; no other opens it"


class SecretError(Exception):
    """A secret is missing, malformed or sealed under another key; says what to do."""


class MasterKey:
    """32 octets from which every other key is derived; shows as stars."""

    __slots__ = ("_credential", "_fingerprint", "_octets", "_seal")

    def __init__(self, octets: bytes) -> None:
        if len(octets) != MASTER_OCTETS:
            raise SecretError(
                f"the master key has {len(octets)} octets instead of {MASTER_OCTETS}:"
                f" {_PUT_BACK}"
            )
        self._octets = octets
        self._seal = AESGCM(_derived(octets, b"seal"))
        self._credential = _derived(octets, b"credential")
        self._fingerprint = _derived(octets, b"fingerprint")[:4]

    @classmethod
    def generate(cls) -> Self:
        """Return a fresh key from the system's randomness."""
        return cls(secrets.token_bytes(MASTER_OCTETS))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the key written as base64 (what `to_text` gives); raise SecretError."""
        try:
            return cls(base64.b64decode(text.strip(), validate=True))
        except (binascii.Error, ValueError) as error:
            raise SecretError(f"the master key is not base64: {_PUT_BACK}") from error

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Return the key in `path`; SecretError when it is missing or others may read it."""
        try:
            mode = path.stat().st_mode
            text = path.read_text("ascii")
        except FileNotFoundError as error:
            raise SecretError(
                f"there is no master key at {path}: make one with `soboo-mta secret"
                " generate`, or put back the one this store was made with"
            ) from error
        except OSError as error:
            raise SecretError(
                f"cannot read the master key {path}: {error.strerror}"
            ) from error
        except UnicodeDecodeError as error:
            raise SecretError(
                f"{path} is no master key: it is not text: {_PUT_BACK}"
            ) from error
        if mode & 0o077:
            raise SecretError(
                f"the master key {path} can be read by others: chmod 600 {path}"
            )
        return cls.from_text(text)

    def write_new(self, path: Path) -> None:
        """Write the key to `path`, which must not exist, for its owner alone, synced."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            with os.fdopen(os.open(path, flags, 0o600), "w") as file:
                file.write(self.to_text() + "\n")
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError as error:
            raise SecretError(
                f"{path} holds a master key already; it is never replaced: what is sealed"
                " under it would be lost"
            ) from error
        except OSError as error:
            raise SecretError(
                f"cannot write the master key {path}: {error.strerror}"
            ) from error

    def to_text(self) -> str:
        """Return the key as base64: for the key file alone."""
        return base64.b64encode(self._octets).decode("ascii")

    def __repr__(self) -> str:
        return "MasterKey(********)"

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        """Return `plaintext` encrypted; it opens with the same key and `context` alone."""
        data_key = secrets.token_bytes(MASTER_OCTETS)
        bound = context.encode()
        wrapped = _encrypt(self._seal, data_key, bound)
        sealed = _encrypt(AESGCM(data_key), plaintext, bound)
        return _VERSION + self._fingerprint + wrapped + sealed

    def has_sealed(self, sealed: bytes) -> bool:
        """Whether `sealed` was sealed under this key, as its fingerprint says."""
        return sealed[len(_VERSION) :].startswith(self._fingerprint)

    def unseal(self, sealed: bytes, *, context: str) -> bytes:
        """Return what was sealed under `context`; raise SecretError when it does not open."""
        start = len(_VERSION) + len(self._fingerprint)
        if not sealed.startswith(_VERSION) or len(sealed) < start + _WRAPPED_OCTETS:
            raise SecretError(f"the sealed {context} is damaged: restore the store")
        if sealed[len(_VERSION) : start] != self._fingerprint:
            raise SecretError(
                f"the {context} was sealed under another master key: "
                "start with the master key this store was made with"
            )
        wrapped, body = (
            sealed[start : start + _WRAPPED_OCTETS],
            sealed[start + _WRAPPED_OCTETS :],
        )
        bound = context.encode()
        try:
            data_key = _decrypt(self._seal, wrapped, bound)
            return _decrypt(AESGCM(data_key), body, bound)
        except (InvalidTag, ValueError) as error:
            raise SecretError(
                f"the sealed {context} is damaged: restore the store"
            ) from error

    def credential_hash(self, user_name: str, secret: str) -> bytes:
        """Return the keyed hash that is stored for a credential (HMAC-SHA-256).

        A slow hash is not needed: the secret is generated and has 160 bits. The user name
        is part of it, so that a hash copied to another row opens nothing.
        """
        text = f"{user_name}\0{secret}".encode(errors="surrogatepass")
        return hmac.digest(self._credential, text, hashlib.sha256)

    def verp_key(self, version: int) -> bytes:
        """Return the key that signs reverse-paths of key `version` (0..31)."""
        if not 0 <= version <= _MAX_VERP_VERSION:
            raise ValueError(version)
        return _derived(self._octets, b"verp/%d" % version)

    def setup_key(self) -> bytes:
        """Return the key that signs links to setup pages."""
        return _derived(self._octets, b"setup")


def generate_secret() -> str:
    """Return a fresh credential secret: 160 bits, lower-case base32."""
    return _letters(_SECRET_OCTETS)


def generate_token() -> str:
    """Return a fresh label for names in the operator's zone: 120 bits, 24 letters."""
    return _letters(_TOKEN_OCTETS)


def is_equal(left: bytes, right: bytes) -> bool:
    """Whether two hashes are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(left, right)


def _letters(octets: int) -> str:
    return base64.b32encode(secrets.token_bytes(octets)).decode("ascii").lower()


def _derived(master: bytes, purpose: bytes) -> bytes:
    info = b"soboo-mta/1/" + purpose
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(master)


def _encrypt(cipher: AESGCM, plaintext: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_OCTETS)
    return nonce + cipher.encrypt(nonce, plaintext, bound)


def _decrypt(cipher: AESGCM, sealed: bytes, bound: bytes) -> bytes:
    return cipher.decrypt(sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:], bound)
