"""`tenants.toml`: tenants, credentials and domains as they should be, and how to get there.

Reads the file, compares it with the store and carries out the difference, so that a
second run changes nothing. What the file does not name is left alone; with `prune` its
tenants are suspended and its credentials revoked. Nothing is ever deleted, and what a
customer's DNS depends on (mode, labels) is never changed.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, TypeVar, assert_never

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy import Connection

from soboo_mta.formats.keys import KeyPair
from soboo_mta.identity.state import DomainSettings, Mode, OnBroken
from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import TenantId
from soboo_mta.tenancy.accounts import (
    MAX_QUOTA,
    Credential,
    IpNetwork,
    NewCredential,
    Tenant,
    add_credential,
    add_tenant,
    change_credential,
    change_tenant,
    list_credentials,
    list_tenants,
    parse_networks,
    parse_tenant_id,
    parse_tenant_name,
    parse_user_name,
    revoke_credential,
)
from soboo_mta.tenancy.domains import (
    DEFAULT_BOUNCE_LABEL,
    DEFAULT_SELECTORS,
    ED25519_SELECTOR,
    NewDomain,
    change_domain,
    list_domains,
)
from soboo_mta.tenancy.keys import add_domain
from soboo_mta.tenancy.secrets import MasterKey

T = TypeVar("T")


# ---- the file


def _parsed(parse: Callable[[str], T]) -> PlainValidator:
    def validate(value: object) -> T:
        if not isinstance(value, str):
            raise FormatError("write it as text in quotes")
        return parse(value)

    return PlainValidator(validate)


def _network(text: str) -> IpNetwork:
    return parse_networks([text])[0]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CredentialEntry(_Entry):
    """`[[tenant.credential]]` or `[[operator_credential]]`."""

    user_name: Annotated[str, _parsed(parse_user_name)]
    networks: tuple[Annotated[IpNetwork, _parsed(_network)], ...] = ()
    label: str = ""


class DomainEntry(_Entry):
    """`[[tenant.domain]]`."""

    name: Annotated[Domain, _parsed(Domain.parse)]
    mode: Mode = Mode.CNAME
    bounce_label: str = DEFAULT_BOUNCE_LABEL
    selectors: tuple[Annotated[DnsName, _parsed(DnsName.parse)], ...] = (
        DEFAULT_SELECTORS
    )
    ed25519: bool = False
    on_broken: OnBroken = OnBroken.HOLD
    sign_with_operator: bool = False
    assume_verified: bool = False

    def of(self, tenant: TenantId) -> NewDomain:
        """Return the domain as `tenant`'s; FormatError for labels it can't have."""
        return NewDomain(
            tenant=tenant,
            name=self.name,
            mode=self.mode,
            bounce_label=self.bounce_label,
            selectors=self.selectors,
            ed25519=self.ed25519,
            on_broken=self.on_broken,
            sign_with_operator=self.sign_with_operator,
            assume_verified=self.assume_verified,
        )


class TenantEntry(_Entry):
    """`[[tenant]]`. Quotas are recipients an hour and a day."""

    id: Annotated[TenantId, _parsed(parse_tenant_id)]
    name: Annotated[str, _parsed(parse_tenant_name)] = ""
    suspended: bool = False
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    hourly_quota: Annotated[int, Field(ge=0, le=MAX_QUOTA)] | None = None
    daily_quota: Annotated[int, Field(ge=0, le=MAX_QUOTA)] | None = None
    pool: str | None = None
    reports: bool = True
    report_address: Annotated[Mailbox, _parsed(parse_mailbox)] | None = None
    credential: tuple[CredentialEntry, ...] = ()
    domain: tuple[DomainEntry, ...] = ()

    @property
    def tenant(self) -> Tenant:
        same = {key: getattr(self, key) for key in _AS_IN_TENANT.split()}
        return Tenant(tenant_id=self.id, name=self.name or self.id, **same)


_AS_IN_TENANT = "suspended weight hourly_quota daily_quota pool reports report_address"


class TenantsFile(_Entry):
    """The whole of `tenants.toml`."""

    tenant: tuple[TenantEntry, ...] = ()
    operator_credential: tuple[CredentialEntry, ...] = ()


def load_tenants(path: Path) -> TenantsFile:
    """Return what `path` says; FormatError names each fault, and for an unknown key the
    nearest right one."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not TOML: {error}") from error
    try:
        file = TenantsFile.model_validate(values)
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(one)}" for one in error.errors())
        raise FormatError(f"{path} is not right:\n{faults}") from error
    _refuse_repeated("tenant", [entry.id for entry in file.tenant])
    _refuse_repeated("user name", [one.user_name for _, one in _credentials(file)])
    for entry in file.tenant:
        _refuse_repeated(f"domain of {entry.id}", [one.name for one in entry.domain])
    return file


def _fault(error: ErrorDetails) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":  # a shape in TOML's words, not the library's
        text = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
        text = text.partition(" or instance of")[0].replace("a valid tuple", "a list")
        return f"{place}: {text.replace('a valid dictionary', 'a table of keys')}"
    around = [one for one in error["loc"][:-1] if isinstance(one, str)]
    known = _KEYS_IN.get(around[-1] if around else "", ())
    near = get_close_matches(str(error["loc"][-1]), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"{place}: there is no such key; {hint}"


_KEYS_IN: Mapping[str, tuple[str, ...]] = {
    "": tuple(TenantsFile.model_fields),
    "tenant": tuple(TenantEntry.model_fields),
    "credential": tuple(CredentialEntry.model_fields),
    "operator_credential": tuple(CredentialEntry.model_fields),
    "domain": tuple(DomainEntry.model_fields),
}


def _refuse_repeated(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise FormatError(f"the {what} {name} stands twice: keep one")


def _credentials(
    file: TenantsFile,
) -> Iterator[tuple[TenantId | None, CredentialEntry]]:
    for one in file.operator_credential:
        yield None, one
    for entry in file.tenant:
        for one in entry.credential:
            yield entry.id, one


# ---- the difference


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


Change = (
    AddTenant
    | ChangeTenant
    | AddCredential
    | ChangeCredential
    | RevokeCredential
    | AddDomain
    | ChangeDomain
)


def plan_changes(
    connection: Connection, file: TenantsFile, *, prune: bool = False
) -> tuple[Change, ...]:
    """Return what has to be done so that the store is as `file` says, in order.

    Raises FormatError for what can't be done: a domain's mode or labels differ, a user
    name is revoked or another's.
    """
    credentials = {one.user_name: one for one in list_credentials(connection)}
    domains = {
        (view.settings.tenant, view.settings.name): view.settings
        for view in list_domains(connection)
    }
    changes = [*_tenant_changes(list_tenants(connection), file, prune=prune)]
    for tenant, entry in _credentials(file):
        changes += _credential_changes(credentials.get(entry.user_name), tenant, entry)
    for one in file.tenant:
        for domain in one.domain:
            new = domain.of(one.id)
            changes += _domain_changes(domains.get((one.id, new.name)), new)
    if prune:
        named = {entry.user_name for _, entry in _credentials(file)}
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
            f"credential {entry.user_name} is revoked: take it out of the file, or give "
            f"it a new secret with `soboo-mta credential renew {entry.user_name}`"
        )
    if (before.networks, before.label) != (entry.networks, entry.label):
        yield ChangeCredential(before, entry)


def _domain_changes(before: DomainSettings | None, new: NewDomain) -> Iterator[Change]:
    if before is None:
        yield AddDomain(new)
        return
    fixed = {
        "mode": (before.mode, new.mode),
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
            case _:
                assert_never(change)
    return tuple(made)
