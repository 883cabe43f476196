"""Sending domains in the store: what was configured, with which keys, and who owns it.

Functions over one connection; the caller owns the transaction. A name may be set up by
several tenants, but one alone owns it. A released domain keeps its row, and its token is
never used again, so that a CNAME left behind leads nowhere.
"""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    insert,
    or_,
    select,
    update,
)

from soboo_mta.identity.facts_json import facts_from_json
from soboo_mta.identity.standing import Standing
from soboo_mta.identity.state import (
    Algorithm,
    DomainSettings,
    DomainState,
    KeyState,
    Mode,
    OnBroken,
    PublicKey,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import DomainId, KeyId, TenantId
from soboo_mta.mail.way_out import Secret, WayOut
from soboo_mta.store import schema
from soboo_mta.tenancy.accounts import (
    TenancyError,
    raise_generation,
    tell_concerned,
    the_tenant,
)
from soboo_mta.tenancy.domains.relays import (
    OWN_WAYS,
    check_way_out,
    drop_way_out,
    ways_out,
)
from soboo_mta.tenancy.secrets import generate_token

DEFAULT_BOUNCE_LABEL = "bounce"
DEFAULT_ZONE_LABEL = "em"
DEFAULT_SELECTORS = (DnsName("sb1"), DnsName("sb2"), DnsName("sb3"))
ED25519_SELECTOR = DnsName("sb4")  # receivers that can't verify Ed25519 see RSA first
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_domain = schema.sending_domain.c
_key = schema.dkim_key.c


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDomain:
    """What is needed to set up a sending domain. Labels and zone are fixed from then on;
    `zone` in mode zone alone: the name itself or one below it."""

    tenant: TenantId
    name: Domain
    mode: Mode = Mode.CNAME
    zone: Domain | None = None
    bounce_label: str = DEFAULT_BOUNCE_LABEL
    selectors: tuple[DnsName, ...] = DEFAULT_SELECTORS
    ed25519: bool = False
    on_broken: OnBroken = OnBroken.HOLD
    sign_with_operator: bool = False
    assume_verified: bool = False
    way_out: WayOut | None = None
    secret: Secret | None = None

    def __post_init__(self) -> None:
        """Raise FormatError for labels that DNS or the key slots do not allow, and for a
        way out that is another mode's."""
        for label in (self.bounce_label, *self.selectors):
            if not all(_LABEL.fullmatch(part) for part in label.split(".")):
                raise FormatError(f"{label[:60]!r} is not a DNS label: use a-z, 0-9, -")
        if (self.zone is not None) != (self.mode is Mode.ZONE):
            raise FormatError(
                "mode zone needs the name that is delegated to us, as em.customer.com"
                if self.zone is None
                else f"a zone is delegated in mode zone, not in mode {self.mode}"
            )
        if self.zone is not None and not _is_within(self.zone, self.name):
            raise FormatError(f"the zone {self.zone} is not within {self.name}")
        if len(set(self.selectors)) != len(self.selectors):
            raise FormatError("a selector stands twice: each key needs its own")
        if self.mode is Mode.CNAME and len(self.selectors) < len(DEFAULT_SELECTORS):
            raise FormatError(
                "mode cname needs three selectors: one signs, one is ready, one is free"
            )
        if self.ed25519 and ED25519_SELECTOR in self.selectors:
            raise FormatError(f"the selector {ED25519_SELECTOR} is kept for Ed25519")
        check_way_out(self.mode, self.way_out)

    @property
    def all_selectors(self) -> tuple[DnsName, ...]:
        """The RSA selectors, then the one for Ed25519 where wanted."""
        return (*self.selectors, ED25519_SELECTOR) if self.ed25519 else self.selectors


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainView:
    """A sending domain with its dates (unix ms), for lists and for the monitor."""

    state: DomainState
    verified_at: int | None
    next_check_at: int
    standing: Standing | None = None  # None: not looked at yet

    @property
    def settings(self) -> DomainSettings:
        return self.state.settings


# ---- look


def view_of(connection: Connection, domain_id: DomainId) -> DomainView | None:
    """Return the domain; None when there is none or it was released."""
    found = views(connection, _domain.id == domain_id)
    return found[0] if found else None


def domain_state(connection: Connection, domain_id: DomainId) -> DomainState | None:
    """Return the domain's state; None when there is none or it was released."""
    return domain_states(connection, [domain_id]).get(domain_id)


def domain_states(
    connection: Connection, domain_ids: Collection[DomainId]
) -> dict[DomainId, DomainState]:
    """Return the states of those that are there and were not released."""
    found = views(connection, _domain.id.in_(domain_ids))
    return {view.settings.domain_id: view.state for view in found}


def owner_state(connection: Connection, name: Domain) -> DomainState | None:
    """Return the state of the one domain whose tenant owns `name`, or None."""
    return owner_states(connection, [name]).get(name)


def owner_states(
    connection: Connection, names: Collection[Domain]
) -> dict[Domain, DomainState]:
    """Return, of each name that a tenant owns, the state of that tenant's domain.

    Exactly that name: a subdomain needs its own proof. The first proof counts; a domain
    assumed verified where nobody proved it.
    """
    proved = or_(_domain.verified_at.is_not(None), _domain.assume_verified.is_(True))
    found = views(connection, _domain.name.in_(names), proved)
    by_proof = sorted(found, key=lambda view: view.verified_at or 1 << 63)
    return {view.settings.name: view.state for view in reversed(by_proof)}


def tenant_states(
    connection: Connection, wanted: Collection[tuple[Domain, TenantId]]
) -> dict[tuple[Domain, TenantId], DomainState]:
    """Return the states of names as these tenants set them up, verified or not.

    Never verified while another tenant owns the name.
    """
    names = {name for name, _ in wanted}
    found = views(
        connection,
        _domain.name.in_(names),
        _domain.tenant_id.in_({tenant for _, tenant in wanted}),
    )
    owners = owner_states(connection, names) if found else {}
    states = {}
    for view in found:
        name, tenant = view.settings.name, view.settings.tenant
        owner = owners.get(name)
        is_anothers = owner is not None and owner.settings.tenant != tenant
        state = replace(view.state, was_verified=False) if is_anothers else view.state
        states[name, tenant] = state
    return {key: states[key] for key in wanted if key in states}


def list_domains(
    connection: Connection,
    *,
    tenant: TenantId | None = None,
    name: Domain | None = None,
) -> tuple[DomainView, ...]:
    """Return the domains that were not released, by name, all or some."""
    conditions: list[ColumnElement[bool]] = []
    if tenant is not None:
        conditions.append(_domain.tenant_id == tenant)
    if name is not None:
        conditions.append(_domain.name == name)
    return views(connection, *conditions)


def the_domain(
    connection: Connection, name: Domain, *, tenant: TenantId | None = None
) -> DomainView:
    """Return the one domain of that name; TenancyError for none or several tenants'."""
    found = list_domains(connection, tenant=tenant, name=name)
    if not found:
        whose = f" of tenant {tenant}" if tenant else ""
        raise TenancyError(
            f"there is no sending domain {name}{whose}: see `soboo-mta domain list`"
        )
    if len(found) > 1:
        tenants = ", ".join(view.settings.tenant for view in found)
        raise TenancyError(f"{name} is set up by {tenants}: say which with --tenant")
    return found[0]


# ---- change


def bump_for_domain(connection: Connection, domain_id: DomainId | None) -> int:
    """Raise the identity generation for a change to a domain, or to what is the
    operator's (None); return it."""
    raised = raise_generation(connection)
    tell_of_domain(connection, raised, domain_id)
    return raised


def tell_of_domain(
    connection: Connection, raised: int, domain_id: DomainId | None
) -> None:
    """Say whom a change to a domain concerns: each tenant that set its name up, for it
    decides whose the name is. What is the operator's concerns everybody."""
    if domain_id is None:
        tell_concerned(connection, raised, ())
        return
    name = select(_domain.name).where(_domain.id == domain_id).scalar_subquery()
    found = connection.scalars(select(_domain.tenant_id).where(_domain.name == name))
    tell_concerned(connection, raised, tuple(map(TenantId, found)))


def insert_domain(connection: Connection, new: NewDomain, *, now: int) -> DomainId:
    """Store a new domain with a fresh token and no keys yet; due for a check at once.

    TenancyError when the tenant has it already. One that was released comes back as a
    new one: nothing of its token, its keys or its proof returns.
    """
    raised = raise_generation(connection)
    the_tenant(connection, new.tenant)
    same = and_(_domain.tenant_id == new.tenant, _domain.name == new.name)
    if connection.execute(select(_domain.id).where(same)).first():
        raise TenancyError(f"tenant {new.tenant} has {new.name} already")
    connection.execute(insert(schema.sending_domain).values(_new_values(new, now)))
    made = DomainId(connection.execute(select(_domain.id).where(same)).scalar_one())
    tell_of_domain(connection, raised, made)
    return made


def change_domain(
    connection: Connection,
    domain_id: DomainId,
    *,
    on_broken: OnBroken,
    sign_with_operator: bool,
    assume_verified: bool,
) -> None:
    """Store what may change during a domain's life; the rest is fixed."""
    bump_for_domain(connection, domain_id)
    connection.execute(
        update(schema.sending_domain)
        .where(_domain.id == domain_id)
        .values(
            on_broken=on_broken.value,
            sign_with_operator=sign_with_operator,
            assume_verified=assume_verified,
        )
    )


def add_selector(
    connection: Connection, settings: DomainSettings, selector: DnsName
) -> None:
    """Add one more selector to a domain, for a key that was made elsewhere."""
    if not all(_LABEL.fullmatch(part) for part in selector.split(".")):
        raise FormatError(f"{selector[:60]!r} is not a selector: use a-z, 0-9, -")
    selectors = (*settings.selectors, selector)
    connection.execute(
        update(schema.sending_domain)
        .where(_domain.id == settings.domain_id)
        .values(selectors=json.dumps(selectors))
    )


def release_domain(
    connection: Connection, settings: DomainSettings, *, now: int
) -> None:
    """Give a domain up: nothing of it departs, its private keys are destroyed, and what
    was published for its token is withdrawn for good. Its row stays, as `name~id`."""
    domain_id = settings.domain_id
    bump_for_domain(connection, domain_id)
    connection.execute(
        update(schema.sending_domain)
        .where(_domain.id == domain_id)
        .values(
            name=f"{settings.name}~{domain_id}",
            released_at=now,
            verified_at=None,
            facts=None,
            facts_at=None,
            standing=None,
            clean_looks=0,
            next_check_at=now,  # at what its customer left behind
        )
    )
    connection.execute(
        update(schema.dkim_key)
        .where(_key.domain_id == domain_id)
        .values(state=KeyState.REVOKED.value, private_key=None, revoked_at=now)
    )
    for table in (schema.record_check, schema.domain_standing, schema.zone_record):
        connection.execute(delete(table).where(table.c.domain_id == domain_id))
    drop_way_out(connection, domain_id)


# ---- rows and values


def views(
    connection: Connection, *conditions: ColumnElement[bool]
) -> tuple[DomainView, ...]:
    """Return the domains for which `conditions` hold, by name; never released ones."""
    rows = connection.execute(
        select(schema.sending_domain)
        .where(_domain.released_at.is_(None), *conditions)
        .order_by(_domain.name, _domain.tenant_id)
    ).all()
    keys = _keys_of(connection, [row._mapping["id"] for row in rows])
    theirs = [
        DomainId(row._mapping["id"]) for row in rows if row._mapping["mode"] in OWN_WAYS
    ]
    ways = ways_out(connection, theirs)
    return tuple(
        to_view(row, keys[row._mapping["id"]], ways.get(row._mapping["id"]))
        for row in rows
    )


def released_zones(connection: Connection) -> tuple[DnsName, ...]:
    """Return zones that were delegated to us for a domain since released, by name;
    another domain may have been set up for one of them."""
    rows = connection.execute(
        select(_domain.id, _domain.name, _domain.zone).where(
            _domain.mode == Mode.ZONE.value, _domain.released_at.is_not(None)
        )
    )
    zones = {
        DnsName(zone or name.removesuffix(f"~{domain_id}"))
        for domain_id, name, zone in rows
    }
    return tuple(sorted(zones))


_KEYS_A_QUERY = 500  # bound parameters are limited (SQLite: 32,766)


def _keys_of(
    connection: Connection, domain_ids: list[int]
) -> defaultdict[int, list[PublicKey]]:
    found: defaultdict[int, list[PublicKey]] = defaultdict(list)
    for start in range(0, len(domain_ids), _KEYS_A_QUERY):
        some = domain_ids[start : start + _KEYS_A_QUERY]
        rows = connection.execute(
            select(schema.dkim_key).where(_key.domain_id.in_(some)).order_by(_key.id)
        )
        for row in rows:
            found[row._mapping["domain_id"]].append(to_public_key(row))
    return found


def to_public_key(row: Row[tuple[object, ...]]) -> PublicKey:
    """Return the public half of the key that a row of its table holds."""
    one = row._mapping
    return PublicKey(
        key_id=KeyId(one["id"]),
        selector=DnsName(one["selector"]),
        algorithm=Algorithm(one["algorithm"]),
        state=KeyState(one["state"]),
        p=one["public_key"],
    )


def current_keys(keys: Iterable[PublicKey]) -> tuple[PublicKey, ...]:
    """Return the keys in order of their making, less withdrawn ones, and revoked ones
    with a successor in their slot: what is published, and no more."""
    keys = [key for key in keys if key.state is not KeyState.WITHDRAWN]
    latest = {key.selector: key.key_id for key in keys}
    return tuple(
        key
        for key in keys
        if key.state is not KeyState.REVOKED or latest[key.selector] == key.key_id
    )


def to_view(
    row: Row[tuple[object, ...]], keys: list[PublicKey], way: WayOut | None = None
) -> DomainView:
    """Return the domain that a row of its table holds, with these keys and its way out."""
    one = row._mapping
    settings = DomainSettings(
        domain_id=DomainId(one["id"]),
        tenant=TenantId(one["tenant_id"]),
        name=Domain(one["name"]),
        mode=Mode(one["mode"]),
        token=one["token"],
        bounce_label=one["bounce_label"],
        selectors=tuple(DnsName(label) for label in json.loads(one["selectors"])),
        on_broken=OnBroken(one["on_broken"]),
        sign_with_operator=one["sign_with_operator"],
        assume_verified=one["assume_verified"],
        keys=current_keys(keys),
        zone=Domain(one["zone"]) if one["zone"] is not None else None,
        way_out=way,
    )
    state = DomainState(
        settings=settings,
        was_verified=one["verified_at"] is not None or one["assume_verified"],
        facts=facts_from_json(one["facts"]) if one["facts"] is not None else None,
    )
    return DomainView(
        state=state,
        verified_at=one["verified_at"],
        next_check_at=one["next_check_at"],
        standing=Standing(one["standing"]) if one["standing"] else None,
    )


def default_zone(name: Domain, mode: Mode) -> Domain | None:
    """The zone that mode zone asks for where no other is named: em.customer.com."""
    return Domain(f"{DEFAULT_ZONE_LABEL}.{name}") if mode is Mode.ZONE else None


def _is_within(zone: Domain, name: Domain) -> bool:
    return zone == name or zone.is_below(name)


def _new_values(new: NewDomain, now: int) -> dict[str, object]:
    return {
        "tenant_id": new.tenant,
        "name": str(new.name),
        "mode": new.mode.value,
        "token": generate_token(),
        "zone": new.zone,
        "bounce_label": new.bounce_label,
        "selectors": json.dumps(new.all_selectors),
        "on_broken": new.on_broken.value,
        "sign_with_operator": new.sign_with_operator,
        "assume_verified": new.assume_verified,
        "verified_at": None,
        "released_at": None,
        "facts": None,
        "facts_at": None,
        "next_check_at": 0,
        "created_at": now,
    }
