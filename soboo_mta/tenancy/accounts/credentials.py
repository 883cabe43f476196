"""Credentials in the store: how clients log in, and for whom they send then."""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import CredentialId, TenantId
from soboo_mta.ports import IpAddress
from soboo_mta.store import schema
from soboo_mta.store.unit import Statement
from soboo_mta.tenancy.accounts.generation import (
    bump_generation,
    raise_generation,
    tell_concerned,
)
from soboo_mta.tenancy.accounts.tenants import (
    TenancyError,
    the_tenant,
)
from soboo_mta.tenancy.secrets import MasterKey, generate_secret

IpNetwork = IPv4Network | IPv6Network
_USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_credential = schema.credential.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One way to log in. `tenant` None: the operator's, which sends for whichever
    tenant owns the From domain. `networks` empty: from anywhere. Times are unix ms."""

    credential_id: CredentialId
    tenant: TenantId | None
    user_name: str
    networks: tuple[IpNetwork, ...]
    label: str
    created_at: int
    revoked_at: int | None
    last_used_at: int | None

    def admits(self, client: IpAddress) -> bool:
        """Whether this credential may be used from `client`."""
        return not self.networks or any(client in net for net in self.networks)


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential with its secret, which exists nowhere else: show it once."""

    credential: Credential
    secret: str

    def __repr__(self) -> str:
        return f"NewCredential({self.credential!r}, ********)"


def parse_networks(texts: Iterable[str]) -> tuple[IpNetwork, ...]:
    """Return CIDR networks in order; FormatError names the one that is none."""
    networks: list[IpNetwork] = []
    for text in texts:
        try:
            networks.append(ip_network(text.strip()))
        except ValueError as error:
            raise FormatError(
                f"{text[:60]!r} is not a network: write 192.0.2.0/24 or 2001:db8::/32 "
                f"({error})"
            ) from error
    return tuple(networks)


def parse_user_name(text: str) -> str:
    """Return `text` as a user name for AUTH: letters, digits and `._@+-`, up to 128."""
    if not is_user_name(text):
        raise FormatError(
            f"{text[:60]!r} is not a user name: use letters, digits and ._@+-, "
            "at most 128, beginning with a letter or digit"
        )
    return text


def is_user_name(text: str) -> bool:
    """Whether a credential can have `text` as its user name."""
    return _USER_NAME.fullmatch(text) is not None


def add_credential(
    connection: Connection,
    master: MasterKey,
    *,
    tenant: TenantId | None,
    user_name: str,
    networks: tuple[IpNetwork, ...] = (),
    label: str = "",
    now: int,
) -> NewCredential:
    """Store a new credential and return it with its secret, the only time it is known."""
    bump_generation(connection, *whose(tenant))
    if tenant is not None:
        the_tenant(connection, tenant)
    taken = find_credential(connection, user_name)
    if taken is not None:
        if taken.revoked_at is not None:
            raise TenancyError(
                f"the user name {user_name} is taken, though revoked: choose another"
            )
        raise TenancyError(
            f"the user name {user_name} is taken: choose another, or "
            f"`soboo-mta credential renew {user_name}` for a new secret"
        )
    secret = generate_secret()
    values = {
        "tenant_id": tenant,
        "user_name": parse_user_name(user_name),
        "secret_hash": master.credential_hash(user_name, secret),
        "networks": _networks_json(networks),
        "label": label,
        "created_at": now,
    }
    connection.execute(insert(schema.credential).values(values))
    return NewCredential(the_credential(connection, user_name), secret)


def renew_secret(
    connection: Connection, master: MasterKey, user_name: str, *, now: int
) -> NewCredential:
    """Give a user name a new secret. The old one is dead: no login, and sessions opened
    with it end at their next MAIL. Its row stays, revoked, as `name~id`; certificates go
    over to the new one. A revoked one is not brought back: TenancyError."""
    credential = the_credential(connection, user_name)
    if credential.revoked_at is not None:
        raise TenancyError(
            f"credential {user_name} is revoked, and stays so: add one of another name"
            " with `soboo-mta credential add`"
        )
    revoke_credential(connection, user_name, now=now)
    connection.execute(
        update(schema.credential)
        .where(_credential.id == credential.credential_id)
        .values(user_name=f"{user_name}~{credential.credential_id}")
    )
    made = add_credential(
        connection,
        master,
        tenant=credential.tenant,
        user_name=user_name,
        networks=credential.networks,
        label=credential.label,
        now=now,
    )
    connection.execute(
        update(schema.client_certificate)
        .where(schema.client_certificate.c.credential_id == credential.credential_id)
        .values(credential_id=made.credential.credential_id)
    )
    return made


def change_credential(
    connection: Connection,
    user_name: str,
    *,
    networks: tuple[IpNetwork, ...],
    label: str,
) -> None:
    """Store the networks and the label of a credential as given."""
    credential = changing(connection, user_name)
    connection.execute(
        update(schema.credential)
        .where(_credential.id == credential.credential_id)
        .values(networks=_networks_json(networks), label=label)
    )


def revoke_credential(connection: Connection, user_name: str, *, now: int) -> None:
    """End a credential: no new login, and open sessions end at their next MAIL."""
    credential = changing(connection, user_name)
    if credential.revoked_at is not None:
        raise TenancyError(f"credential {user_name} is revoked already")
    connection.execute(
        update(schema.credential)
        .where(_credential.id == credential.credential_id)
        .values(revoked_at=now)
    )


def find_credential(connection: Connection, user_name: str) -> Credential | None:
    """Return the credential of that user name, revoked or not, or None."""
    row = connection.execute(
        select(schema.credential).where(_credential.user_name == user_name)
    ).one_or_none()
    return to_credential(row) if row else None


def find_login(
    connection: Connection, user_name: str
) -> tuple[Credential, bytes] | None:
    """Return the credential of that user name with the keyed hash of its secret."""
    row = connection.execute(
        select(schema.credential).where(_credential.user_name == user_name)
    ).one_or_none()
    return (to_credential(row), row._mapping["secret_hash"]) if row else None


def live_of(
    connection: Connection, credential_ids: Collection[CredentialId]
) -> dict[CredentialId, Credential]:
    """Return those of these credentials that are not revoked."""
    live = (_credential.id.in_(credential_ids), _credential.revoked_at.is_(None))
    found = map(
        to_credential, connection.execute(select(schema.credential).where(*live))
    )
    return {one.credential_id: one for one in found}


def changing(connection: Connection, user_name: str) -> Credential:
    """Return the credential that is to be changed, its tenant's generation raised."""
    raised = raise_generation(connection)
    credential = the_credential(connection, user_name)
    tell_concerned(connection, raised, whose(credential.tenant))
    return credential


def whose(tenant: TenantId | None) -> tuple[TenantId, ...]:
    """Whom a change to a credential concerns; nobody named: everybody, for a credential
    of the operator sends for all."""
    return () if tenant is None else (tenant,)


def the_credential(connection: Connection, user_name: str) -> Credential:
    """As `find_credential`; TenancyError when there is none."""
    credential = find_credential(connection, user_name)
    if credential is None:
        raise TenancyError(
            f"there is no credential {user_name}: see `soboo-mta credential list`"
        )
    return credential


def list_credentials(
    connection: Connection, *, tenant: TenantId | None = None
) -> tuple[Credential, ...]:
    """Return all credentials, or those of one tenant, by user name."""
    query = select(schema.credential).order_by(_credential.user_name)
    if tenant is not None:
        query = query.where(_credential.tenant_id == tenant)
    return tuple(to_credential(row) for row in connection.execute(query))


_USED = (
    update(schema.credential)
    .where(_credential.id == bindparam("used_id"))
    .values(last_used_at=bindparam("used_at"))
)


def used(uses: Iterable[tuple[CredentialId, int]]) -> Statement:
    """A statement that stores when credentials were last used (unix ms)."""
    return Statement(_USED, tuple({"used_id": one, "used_at": at} for one, at in uses))


def to_credential(row: Row[tuple[object, ...]]) -> Credential:
    """Return the credential of a row of its table."""
    one = row._mapping
    return Credential(
        credential_id=CredentialId(one["id"]),
        tenant=TenantId(one["tenant_id"]) if one["tenant_id"] is not None else None,
        user_name=one["user_name"],
        networks=parse_networks(json.loads(one["networks"])),
        label=one["label"],
        created_at=one["created_at"],
        revoked_at=one["revoked_at"],
        last_used_at=one["last_used_at"],
    )


def _networks_json(networks: tuple[IpNetwork, ...]) -> str:
    return json.dumps([str(net) for net in networks])
