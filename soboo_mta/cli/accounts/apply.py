"""`soboo-mta apply`: make the store as a file says, show each change, change nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, assert_never

import typer
from sqlalchemy import Connection

from soboo_mta.cli.accounts.credential import (
    credential_values,
    note_credential,
    show_secrets,
)
from soboo_mta.cli.accounts.tenant import Json, chosen_pool, chosen_streams, keep_gate
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    actor,
    open_store,
    say,
    say_json,
)
from soboo_mta.cli.domains.adding import refuse_unfit
from soboo_mta.cli.domains.chosen import domain_event
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import (
    NewCredential,
    bump_generation,
    list_tenants,
)
from soboo_mta.tenancy.declared.apply import (
    AddCredential,
    AddDomain,
    AddTenant,
    Change,
    ChangeCredential,
    ChangeDomain,
    ChangeTenant,
    ChangeWayOut,
    RevokeCredential,
    apply_changes,
    plan_changes,
)
from soboo_mta.tenancy.declared.tenants_file import load_tenants
from soboo_mta.tenancy.domains import the_domain
from soboo_mta.tenancy.signing.keys import first_pairs

_AT_ONCE = 50  # changes in one transaction: others wait for it


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="tenants.toml")],
    config: ConfigPath = DEFAULT_CONFIG,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Suspend tenants and revoke credentials that the file does not name.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the changes, make none.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make tenants, credentials and domains as FILE says. Again: no change."""
    store = open_store(config)
    wanted = load_tenants(file)
    for entry in wanted.tenant:
        chosen_pool(store, entry.pool, None)  # one that the settings have
        chosen_streams(store, entry.unsubscribe, frozenset())
    changes = read_now(
        store.engine,
        lambda connection: plan_changes(
            connection, wanted, prune=prune, master=lambda: store.master
        ),
    )
    assumed = [one.new for one in changes if isinstance(one, AddDomain)]
    assumed += [
        one.after for one in changes if isinstance(one, ChangeDomain | ChangeWayOut)
    ]
    refuse_unfit(store, assumed)
    made: list[NewCredential] = []
    for start in range(0, len(changes), _AT_ONCE):
        some = changes[start : start + _AT_ONCE]
        new = () if dry_run else carry_out(store, some)
        made += new
        if not as_json:
            for one in some:
                say(described(one))
            if new:
                show_secrets(new, as_json=False)  # now: a later batch may fail
    if as_json:
        _say_json(changes, made)
    elif not changes:
        say(f"{file}: nothing to change")
    elif dry_run:
        say(f"{len(changes)} changes not made: --dry-run")


def described(change: Change) -> str:
    """Return a change in one line: +, ~ or -, and what differs."""
    match change:
        case AddTenant(tenant):
            return f"+ tenant {tenant.tenant_id}"
        case ChangeTenant(before, after):
            return (
                f"~ tenant {before.tenant_id}: {_differences(before, after, _TENANT)}"
            )
        case AddCredential(tenant, entry):
            return f"+ credential {entry.user_name} of {tenant or 'the operator'}"
        case ChangeCredential(before, entry):
            what = _differences(before, entry, ("networks", "label"))
            return f"~ credential {entry.user_name}: {what}"
        case RevokeCredential(credential):
            return f"- credential {credential.user_name}: revoked"
        case AddDomain(new):
            return f"+ domain {new.name} of {new.tenant}, mode {new.mode}"
        case ChangeDomain(before, after):
            return f"~ domain {after.name}: {_differences(before, after, _DOMAIN)}"
        case ChangeWayOut(before, after):
            what = "way_out" if before.way_out != after.way_out else "its secret"
            return f"~ domain {after.name}: {what}"
        case _:
            assert_never(change)


_TENANT = (
    "name",
    "suspended",
    "weight",
    "hourly_quota",
    "daily_quota",
    "pool",
    "unsubscribe",
)
_DOMAIN = ("on_broken", "sign_with_operator", "assume_verified")


def _differences(before: object, after: object, names: Sequence[str]) -> str:
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in names)
    return ", ".join(
        f"{name} {_word(old)} → {_word(new)}" for name, old, new in pairs if old != new
    )


def _word(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return "[" + ", ".join(map(str, value)) + "]"
        case frozenset():
            return "[" + ", ".join(sorted(map(str, value))) + "]"
    return str(value) or "(empty)"


def carry_out(store: CliStore, changes: Sequence[Change]) -> tuple[NewCredential, ...]:
    """Make the changes in one transaction; return the credentials with their secrets."""
    # Keys are made before the transaction: each RSA key takes 0.1 s.
    pairs = {
        one.new: first_pairs(one.new) for one in changes if isinstance(one, AddDomain)
    }
    master, now = store.master, store.clock.unix_ms()

    def write(connection: Connection) -> tuple[NewCredential, ...]:
        bump_generation(connection)  # its row lock: nobody suspends in between
        were = {one.tenant_id: one.suspended for one in list_tenants(connection)}
        made = apply_changes(connection, master, changes, pairs, now=now)
        for one in made:
            kind = EventKind.CREDENTIAL_ADDED
            note_credential(connection, kind, one.credential, now)
        for change in changes:
            _note(connection, change, were, now)
        return made

    return write_now(store.engine, write)


def _note(
    connection: Connection, change: Change, were: Mapping[TenantId, bool], now: int
) -> None:
    match change:
        case AddTenant(tenant):
            kind = EventKind.TENANT_ADDED
            event = recorded(kind, at=now, actor=actor(), tenant=tenant.tenant_id)
            perform(connection, event)
            if tenant.suspended:
                keep_gate(connection, tenant, now=now)
        case ChangeTenant(_, after) if were[after.tenant_id] != after.suspended:
            keep_gate(connection, after, now=now)
        case RevokeCredential(credential):
            kind = EventKind.CREDENTIAL_REVOKED
            note_credential(connection, kind, credential, now)
        case AddDomain(new):
            settings = the_domain(connection, new.name, tenant=new.tenant).settings
            perform(connection, domain_event(EventKind.DOMAIN_ADDED, settings, now))


def _say_json(changes: Sequence[Change], made: Sequence[NewCredential]) -> None:
    say_json(
        {
            "changes": [described(one) for one in changes],
            "credentials": [
                credential_values(one.credential) | {"secret": one.secret}
                for one in made
            ],
        }
    )
