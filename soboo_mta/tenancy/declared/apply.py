"""From the store as it is to what `tenants.toml` says.

Compares the file with the store and carries out the difference, so that a second run
changes nothing. What the file does not name is left alone; with `prune` its
tenants are suspended and its credentials revoked. Nothing is ever deleted, and what a
customer's DNS depends on (mode, labels) is never changed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from sqlalchemy import Connection

from soboo_mta.formats.keys import KeyPair
from soboo_mta.identity.state import DomainSettings
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import DomainId, TenantId
from soboo_mta.mail.way_out import Secret
from soboo_mta.tenancy.accounts import (
    Credential,
    NewCredential,
    Tenant,
    add_credential,
    add_tenant,
    change_credential,
    change_tenant,
    list_credentials,
    list_tenants,
    revoke_credential,
)
from soboo_mta.tenancy.declared.tenants_file import CredentialEntry, TenantsFile
from soboo_mta.tenancy.domains import (
    ED25519_SELECTOR,
    NewDomain,
    bump_for_domain,
    change_domain,
    list_domains,
)
from soboo_mta.tenancy.domains.relays import put_way_out, secret_of
from soboo_mta.tenancy.secrets import MasterKey
from soboo_mta.tenancy.signing.keys import add_domain


@dataclass(frozen=True, slots=True)
class AddTenant:
    tenant: Tenant


@dataclass(frozen=True, slots=True)
class ChangeTenant:
    before: Tenant
    after: Tenant


@dataclass(frozen=True, slots=True)
class AddCredential:
    tenant: TenantId | None
    entry: CredentialEntry


@dataclass(frozen=True, slots=True)
class ChangeCredential:
    before: Credential
    entry: CredentialEntry


@dataclass(frozen=True, slots=True)
class RevokeCredential:
    credential: Credential


@dataclass(frozen=True, slots=True)
class AddDomain:
    new: NewDomain


@dataclass(frozen=True, slots=True)
class ChangeDomain:
    before: DomainSettings
    after: NewDomain


@dataclass(frozen=True, slots=True)
class ChangeWayOut:
    """Another relay or mailbox, or another secret for it."""

    before: DomainSettings
    after: NewDomain


Change = (
    AddTenant
    | ChangeTenant
    | AddCredential
    | ChangeCredential
    | RevokeCredential
    | AddDomain
    | ChangeDomain
    | ChangeWayOut
)


def plan_changes(
    connection: Connection,
    file: TenantsFile,
    *,
    prune: bool = False,
    master: Callable[[], MasterKey] | None = None,
) -> tuple[Change, ...]:
    """Return what has to be done so that the store is as `file` says, in order.

    `master` opens the secrets that are stored, to compare them; asked for where the file
    has some. None: they count as different. Raises FormatError for what can't be done: a
    domain's mode or labels differ, a user name is revoked or another's.
    """
    credentials = {one.user_name: one for one in list_credentials(connection)}
    domains = {
        (view.settings.tenant, view.settings.name): view.settings
        for view in list_domains(connection)
    }
    changes = [*_tenant_changes(list_tenants(connection), file, prune=prune)]
    for tenant, entry in file.credentials():
        changes += _credential_changes(credentials.get(entry.user_name), tenant, entry)
    for one in file.tenant:
        for domain in one.domain:
            new = domain.of(one.id)
            before = domains.get((one.id, new.name))
            changes += _domain_changes(before, new)
            if before is not None and new.way_out is not None:
                stored = partial(_stored, connection, master, before.domain_id)
                changes += _way_changes(before, new, stored)
    if prune:
        named = {entry.user_name for _, entry in file.credentials()}
        changes += [
            RevokeCredential(one)
            for one in credentials.values()
            if one.user_name not in named and one.revoked_at is None
        ]
    return tuple(changes)


def _tenant_changes(
    tenants: Iterable[Tenant], file: TenantsFile, *, prune: bool
) -> Iterator[Change]:
    known = {tenant.tenant_id: tenant for tenant in tenants}
    for entry in file.tenant:
        before = known.pop(entry.id, None)
        if before is None:
            yield AddTenant(entry.tenant)
        elif before != entry.tenant:
            yield ChangeTenant(before, entry.tenant)
    for left in known.values():
        if prune and not left.suspended:
            yield ChangeTenant(left, replace(left, suspended=True))


def _credential_changes(
    before: Credential | None, tenant: TenantId | None, entry: CredentialEntry
) -> Iterator[Change]:
    if before is None:
        yield AddCredential(tenant, entry)
        return
    if before.tenant != tenant:
        whose = f"tenant {before.tenant}'s" if before.tenant else "the operator's"
        raise FormatError(f"the user name {entry.user_name} is {whose}: choose another")
    if before.revoked_at is not None:
        raise FormatError(
            f"credential {entry.user_name} is revoked and stays so: "
            "take it out of the file, or choose another user name"
        )
    if (before.networks, before.label) != (entry.networks, entry.label):
        yield ChangeCredential(before, entry)


def _domain_changes(before: DomainSettings | None, new: NewDomain) -> Iterator[Change]:
    if before is None:
        yield AddDomain(new)
        return
    fixed = {
        "mode": (before.mode, new.mode),
        "zone": (before.home, new.zone or new.name),
        "bounce_label": (before.bounce_label, new.bounce_label),
        "ed25519": (ED25519_SELECTOR in before.selectors, new.ed25519),
    }
    for name, (is_now, wanted) in fixed.items():
        if is_now != wanted:
            raise FormatError(
                f"{name} of {new.name} is {is_now} and stays so, for the customer's DNS "
                f"was built on it: put it back, or `soboo-mta domain release {new.name}` "
                "and begin anew"
            )
    missing = [one for one in new.selectors if one not in before.selectors]
    if missing:
        raise FormatError(
            f"the selectors of {new.name} are {', '.join(before.selectors)} and stay so: "
            f"take {', '.join(missing)} out of the file"
        )
    changeable = (before.on_broken, before.sign_with_operator, before.assume_verified)
    if changeable != (new.on_broken, new.sign_with_operator, new.assume_verified):
        yield ChangeDomain(before, new)


def _way_changes(
    before: DomainSettings, new: NewDomain, stored: Callable[[], Secret | None]
) -> Iterator[Change]:
    is_same = before.way_out == new.way_out
    if not is_same or (new.secret is not None and new.secret != stored()):
        yield ChangeWayOut(before, new)


def _stored(
    connection: Connection,
    master: Callable[[], MasterKey] | None,
    domain_id: DomainId,
) -> Secret | None:
    return None if master is None else secret_of(connection, master(), domain_id)


def apply_changes(
    connection: Connection,
    master: MasterKey,
    changes: Iterable[Change],
    pairs: Mapping[NewDomain, tuple[KeyPair, ...]],
    *,
    now: int,
) -> tuple[NewCredential, ...]:
    """Carry `changes` out; return new credentials with their secrets, to be shown once.

    `pairs` are the first keys of each new domain (`keys.first_pairs`), made beforehand.
    """
    made: list[NewCredential] = []
    for change in changes:
        match change:
            case AddTenant(tenant):
                add_tenant(connection, tenant, now=now)
            case ChangeTenant(_, after):
                change_tenant(connection, after)
            case AddCredential(owner, entry):
                made.append(
                    add_credential(
                        connection,
                        master,
                        tenant=owner,
                        user_name=entry.user_name,
                        networks=entry.networks,
                        label=entry.label,
                        now=now,
                    )
                )
            case ChangeCredential(before, entry):
                change_credential(
                    connection,
                    before.user_name,
                    networks=entry.networks,
                    label=entry.label,
                )
            case RevokeCredential(credential):
                revoke_credential(connection, credential.user_name, now=now)
            case AddDomain(new):
                add_domain(connection, master, new, pairs[new], now=now)
            case ChangeDomain(settings, wanted):
                change_domain(
                    connection,
                    settings.domain_id,
                    on_broken=wanted.on_broken,
                    sign_with_operator=wanted.sign_with_operator,
                    assume_verified=wanted.assume_verified,
                )
            case ChangeWayOut(settings, wanted):
                _put(connection, master, settings.domain_id, wanted)
            case _:
                assert_never(change)
    return tuple(made)


def _put(
    connection: Connection, master: MasterKey, domain_id: DomainId, wanted: NewDomain
) -> None:
    bump_for_domain(connection, domain_id)
    if wanted.way_out is not None:
        put_way_out(connection, master, domain_id, wanted.way_out, wanted.secret)
