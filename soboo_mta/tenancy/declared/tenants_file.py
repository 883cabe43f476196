"""`tenants.toml` read: tenants, credentials and domains as they should be."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from soboo_mta.identity.state import Mode, OnBroken
from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import Stream, TenantId
from soboo_mta.tenancy.accounts import (
    MAX_QUOTA,
    IpNetwork,
    Returns,
    SuppressedAt,
    Tenant,
    parse_networks,
    parse_streams,
    parse_tenant_id,
    parse_tenant_name,
    parse_user_name,
)
from soboo_mta.tenancy.declared.ways_in_file import MailboxEntry, RelayEntry
from soboo_mta.tenancy.domains import (
    DEFAULT_BOUNCE_LABEL,
    DEFAULT_SELECTORS,
    NewDomain,
    default_zone,
)

T = TypeVar("T")


def _parsed(parse: Callable[[str], T]) -> PlainValidator:
    def validate(value: object) -> T:
        if not isinstance(value, str):
            raise FormatError("write it as text in quotes")
        return parse(value)

    return PlainValidator(validate)


def _listed(parse: Callable[[list[str]], T]) -> PlainValidator:
    def validate(value: object) -> T:
        if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
            raise FormatError("write it as a list of texts in quotes")
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
    zone: Annotated[Domain, _parsed(Domain.parse)] | None = None
    bounce_label: str = DEFAULT_BOUNCE_LABEL
    selectors: tuple[Annotated[DnsName, _parsed(DnsName.parse)], ...] = (
        DEFAULT_SELECTORS
    )
    ed25519: bool = False
    on_broken: OnBroken = OnBroken.HOLD
    sign_with_operator: bool = False
    assume_verified: bool = False
    relay: RelayEntry | None = None
    mailbox: MailboxEntry | None = None

    def of(self, tenant: TenantId) -> NewDomain:
        """Return the domain as `tenant`'s, its secret read; FormatError for labels it
        can't have, a way out that is not its mode's, a secret that can't be read."""
        if self.relay is not None and self.mailbox is not None:
            raise FormatError(f"{self.name} has a relay and a mailbox: keep one")
        theirs = self.relay or self.mailbox
        return NewDomain(
            tenant=tenant,
            name=self.name,
            mode=self.mode,
            zone=self.zone or default_zone(self.name, self.mode),
            bounce_label=self.bounce_label,
            selectors=self.selectors,
            ed25519=self.ed25519,
            on_broken=self.on_broken,
            sign_with_operator=self.sign_with_operator,
            assume_verified=self.assume_verified,
            way_out=theirs.way if theirs else None,
            secret=theirs.secret() if theirs else None,
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
    suppression: SuppressedAt = SuppressedAt.RELEASE
    returns: Returns = Returns.HOME
    returns_to: Annotated[Mailbox, _parsed(parse_mailbox)] | None = None
    unsubscribe: Annotated[frozenset[Stream], _listed(parse_streams)] = frozenset()
    credential: tuple[CredentialEntry, ...] = ()
    domain: tuple[DomainEntry, ...] = ()

    @property
    def tenant(self) -> Tenant:
        return Tenant(
            tenant_id=self.id,
            name=self.name or self.id,
            suspended=self.suspended,
            weight=self.weight,
            hourly_quota=self.hourly_quota,
            daily_quota=self.daily_quota,
            pool=self.pool,
            reports=self.reports,
            report_address=self.report_address,
            suppression=self.suppression,
            returns=self.returns,
            returns_to=self.returns_to,
            unsubscribe=self.unsubscribe,
        )


class TenantsFile(_Entry):
    """The whole of `tenants.toml`."""

    tenant: tuple[TenantEntry, ...] = ()
    operator_credential: tuple[CredentialEntry, ...] = ()

    def credentials(self) -> Iterator[tuple[TenantId | None, CredentialEntry]]:
        """Yield each with the tenant whose it is: None for the operator's."""
        for one in self.operator_credential:
            yield None, one
        for entry in self.tenant:
            for one in entry.credential:
                yield entry.id, one


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
        file = TenantsFile.model_validate(values, context={"directory": path.parent})
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(one)}" for one in error.errors())
        raise FormatError(f"{path} is not right:\n{faults}") from error
    _refuse_repeated("tenant", [entry.id for entry in file.tenant])
    _refuse_repeated("user name", [one.user_name for _, one in file.credentials()])
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
    "relay": tuple(RelayEntry.model_fields),
    "mailbox": tuple(MailboxEntry.model_fields),
}


def _refuse_repeated(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise FormatError(f"the {what} {name} stands twice: keep one")
