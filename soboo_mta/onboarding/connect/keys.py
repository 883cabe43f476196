"""The keys that sign Domain Connect requests: made, kept and shown.

A key is a file of the data directory, sealed under the master key as all private halves
are, for its owner alone. A table would bring a migration and serve nobody else: a
handful of keys, asked for by commands alone. On several hosts, copy the directory.
"""

import base64
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from soboo_mta.formats.keys import (
    Algorithm,
    KeyPair,
    SigningKey,
    generate_rsa,
    import_private,
    load_signing_key,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.ports import Found, RecordType, Resolver, Unanswered
from soboo_mta.tenancy.secrets import MasterKey, SecretError

_FILE: Final = re.compile(r"_dck([1-9][0-9]{0,5})\.key")
_PIECE: Final = 200  # characters: a part stays under 255 octets (RFC 1035 §3.3.14)


@dataclass(frozen=True, slots=True)
class ConnectKey:
    """A key by the label under which its public half stands below the key domain."""

    label: str
    pair: KeyPair

    def owner(self, key_domain: Domain) -> DnsName:
        """The name of its TXT records."""
        return DnsName(f"{self.label}.{key_domain}")

    @property
    def texts(self) -> tuple[str, ...]:
        """The values of its TXT records, one record each, in any order."""
        p = self.pair.p
        cut = (p[start : start + _PIECE] for start in range(0, len(p), _PIECE))
        return tuple(
            f"p={number},a=RS256,d={piece}" for number, piece in enumerate(cut, 1)
        )

    @property
    def signing(self) -> SigningKey:
        return load_signing_key(self.pair.private, Algorithm.RSA)


class ConnectKeys:
    """The keys of one installation. Raises SecretError, nothing else."""

    def __init__(self, data_directory: Path, master: MasterKey) -> None:
        self._directory = data_directory / "connect"
        self._master = master

    def all(self) -> tuple[ConnectKey, ...]:
        """Return every key, the newest first."""
        return tuple(self._read(number) for number in self._numbers())

    def make(self) -> ConnectKey:
        """Make a key (RSA of 2,048 bits), written and synced before it is returned."""
        number = max(self._numbers(), default=0) + 1
        label, pair = f"_dck{number}", generate_rsa()
        sealed = self._master.seal(pair.private, context=_context(label))
        path = self._directory / f"{label}.key"
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SecretError(f"cannot write {path}: {error.strerror}") from error
        return ConnectKey(label, pair)

    def _numbers(self) -> list[int]:
        try:
            names = [path.name for path in self._directory.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SecretError(
                f"cannot read {self._directory}: {error.strerror}"
            ) from error
        found = (_FILE.fullmatch(name) for name in names)
        return sorted((int(one[1]) for one in found if one), reverse=True)

    def _read(self, number: int) -> ConnectKey:
        label = f"_dck{number}"
        path = self._directory / f"{label}.key"
        try:
            sealed = path.read_bytes()
        except OSError as error:
            raise SecretError(f"cannot read {path}: {error.strerror}") from error
        private = self._master.unseal(sealed, context=_context(label))
        return ConnectKey(label, import_private(_pem(private)))


def _pem(private: bytes) -> bytes:
    """PKCS#8 as keys are imported: its public half is worked out there."""
    text = base64.encodebytes(private)
    return b"-----BEGIN PRIVATE KEY-----\n" + text + b"-----END PRIVATE KEY-----\n"


def _context(label: str) -> str:
    return f"Domain Connect key {label}"


async def published(
    keys: tuple[ConnectKey, ...], key_domain: Domain, resolver: Resolver
) -> ConnectKey | Unanswered | None:
    """Return the first of `keys` whose TXT records DNS shows whole; a request signed with
    another is refused by every DNS host."""
    silence: Unanswered | None = None
    for key in keys:
        answer = await resolver.lookup(
            key.owner(key_domain), RecordType.TXT, fresh=True
        )
        if isinstance(answer, Unanswered):
            silence = silence or answer
        elif isinstance(answer, Found) and set(answer.records) == set(key.texts):
            return key
    return silence
