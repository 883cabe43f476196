"""Client certificates in the store: which of their names logs in as which credential.

A name is a certificate's fingerprint, or a host or mailbox that a trusted authority put
into it. A credential may have several, so that one can be renewed before it ends.
"""

import re

from sqlalchemy import Connection, delete, insert, select

from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.store import schema
from soboo_mta.tenancy.accounts.credentials import (
    Credential,
    changing,
    to_credential,
)
from soboo_mta.tenancy.accounts.tenants import TenancyError

_SHA256 = "sha256:"
_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")
_certificate = schema.client_certificate.c
_credential = schema.credential.c


def parse_certificate_name(text: str) -> str:
    """Return a fingerprint, a host or a mailbox in the form it is compared in; raises
    FormatError for all else."""
    name = certificate_key(text)
    if name.startswith(_SHA256):
        if not _FINGERPRINT.fullmatch(name):
            raise FormatError(
                f"{text[:80]!r} is no fingerprint: write sha256: and 64 hexadecimal "
                "digits, as `openssl x509 -noout -fingerprint -sha256` shows them"
            )
        return name
    try:
        return str(parse_mailbox(name) if "@" in name else Domain.parse(name))
    except FormatError as error:
        raise FormatError(
            f"{text[:80]!r} names no certificate: write its fingerprint (sha256:…), or "
            "the host name or mailbox in it"
        ) from error


def certificate_key(text: str) -> str:
    """Return a name as it is kept, whatever it names: what was bound can be unbound."""
    name = text.strip().lower()
    if name.startswith(_SHA256):
        return _SHA256 + name.removeprefix(_SHA256).replace(":", "")
    return name


def bind_certificate(connection: Connection, user_name: str, name: str) -> None:
    """Let a certificate of that name log in as the credential; TenancyError when it is
    another's, or the credential is revoked."""
    credential = changing(connection, user_name)
    if credential.revoked_at is not None:
        raise TenancyError(f"credential {user_name} is revoked: it can't log in")
    for owner in find_certified(connection, (name,)):
        raise TenancyError(
            f"{name} is bound to {owner.user_name} already: "
            f"`soboo-mta credential unbind {owner.user_name} {name}` first"
        )
    connection.execute(
        delete(schema.client_certificate).where(_certificate.name == name)
    )
    connection.execute(
        insert(schema.client_certificate).values(
            name=name, credential_id=credential.credential_id
        )
    )


def unbind_certificate(connection: Connection, user_name: str, name: str) -> None:
    """Let a certificate of that name log in no more. Sessions it opened end when the
    credential is revoked, not before."""
    credential = changing(connection, user_name)
    removed = connection.execute(
        delete(schema.client_certificate).where(
            _certificate.name == name,
            _certificate.credential_id == credential.credential_id,
        )
    )
    if removed.rowcount == 0:
        raise TenancyError(f"{name} is not bound to {user_name}")


def certificate_names(
    connection: Connection, credential: Credential
) -> tuple[str, ...]:
    """Return the names bound to the credential, in order."""
    found = connection.scalars(
        select(_certificate.name)
        .where(_certificate.credential_id == credential.credential_id)
        .order_by(_certificate.name)
    )
    return tuple(found)


def find_certified(
    connection: Connection, names: tuple[str, ...]
) -> tuple[Credential, ...]:
    """Return the live credentials bound to `names`, in the order of the names."""
    rows = connection.execute(
        select(schema.credential, _certificate.name)
        .join_from(schema.client_certificate, schema.credential)
        .where(_certificate.name.in_(names), _credential.revoked_at.is_(None))
    )
    found = {row._mapping["name"]: to_credential(row) for row in rows}
    return tuple(found[name] for name in names if name in found)
