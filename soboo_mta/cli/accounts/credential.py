"""`soboo-mta credential`: what applications log in with: secrets and certificates."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    ConfigPath,
    actor,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.cli.queue.words import moment
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import (
    Credential,
    NewCredential,
    add_credential,
    bind_certificate,
    certificate_key,
    certificate_names,
    list_credentials,
    parse_certificate_name,
    parse_networks,
    parse_user_name,
    renew_secret,
    revoke_credential,
    the_credential,
    unbind_certificate,
)

app = typer.Typer(
    no_args_is_help=True,
    help="User names, secrets and certificates to log in with.",
    add_completion=False,
)
UserName = Annotated[str, typer.Argument(metavar="USER_NAME")]
Certificate = Annotated[
    str,
    typer.Argument(help="sha256:FINGERPRINT, or the host name or mailbox in it."),
]


@app.command()
def add(
    user_name: UserName,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: Annotated[str | None, typer.Option(help="Whose it is.")] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="Ours: sends for every tenant.")
    ] = False,
    network: Annotated[
        list[str] | None, typer.Option(help="Usable from this network alone; repeat.")
    ] = None,
    label: Annotated[str, typer.Option(help="A note for people.")] = "",
    as_json: Json = False,
) -> None:
    """Add a credential and show its secret, once."""
    if operator == (tenant is not None):
        raise FormatError("say whose it is: --tenant TENANT, or --operator for ours")
    store = open_store(config)
    name, networks = parse_user_name(user_name), parse_networks(network or ())
    owner = None if tenant is None else TenantId(tenant)
    master, now = store.master, store.clock.unix_ms()

    def write(connection: Connection) -> NewCredential:
        made = add_credential(
            connection,
            master,
            tenant=owner,
            user_name=name,
            networks=networks,
            label=label,
            now=now,
        )
        note_credential(connection, EventKind.CREDENTIAL_ADDED, made.credential, now)
        return made

    show_secrets((write_now(store.engine, write),), as_json=as_json)


@app.command()
def bind(
    user_name: UserName, certificate: Certificate, config: ConfigPath = DEFAULT_CONFIG
) -> None:
    """Let a client certificate log in, on listeners with a client_ca_file (AUTH EXTERNAL).

    A credential may have several: bind the new one before the old one ends.
    """
    name = parse_certificate_name(certificate)
    _change_certificate(bind_certificate, user_name, name, config)
    say(f"bound {user_name}")


@app.command()
def unbind(
    user_name: UserName, certificate: Certificate, config: ConfigPath = DEFAULT_CONFIG
) -> None:
    """Let a client certificate log in no more."""
    name = certificate_key(certificate)
    _change_certificate(unbind_certificate, user_name, name, config)
    say(f"unbound {user_name}")


def _change_certificate(
    change: Callable[[Connection, str, str], None],
    user_name: str,
    name: str,
    config: Path,
) -> None:
    store = open_store(config)
    now = store.clock.unix_ms()

    def write(connection: Connection) -> None:
        change(connection, user_name, name)
        credential = the_credential(connection, user_name)
        note_credential(connection, EventKind.CREDENTIAL_CHANGED, credential, now)

    write_now(store.engine, write)


@app.command("list")
def list_all(
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant.")] = None,
    replaced: Annotated[
        bool, typer.Option("--replaced", help="Those that `renew` replaced too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List credentials; secrets are not kept and can't be shown."""
    owner = None if tenant is None else TenantId(tenant)

    def read(
        connection: Connection,
    ) -> tuple[tuple[Credential, tuple[str, ...]], ...]:
        return tuple(
            (one, certificate_names(connection, one))
            for one in list_credentials(connection, tenant=owner)
            if replaced or "~" not in one.user_name
        )

    found = read_now(open_store(config).engine, read)
    if as_json:
        say_json(
            [credential_values(one) | {"certificates": names} for one, names in found]
        )
        return
    table = Table(
        "user name", "tenant", "from", "last used", "state", "certificates", "label"
    )
    for one, names in found:
        table.add_row(
            one.user_name,
            one.tenant or "(operator)",
            ", ".join(map(str, one.networks)) or "anywhere",
            "never" if one.last_used_at is None else moment(one.last_used_at),
            "active" if one.revoked_at is None else f"revoked {moment(one.revoked_at)}",
            ", ".join(names),
            one.label,
        )
    say(table if found else "there are no credentials: soboo-mta credential add NAME")


@app.command()
def renew(
    user_name: UserName, config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False
) -> None:
    """Give a user name a new secret; the old one is dead at the next MAIL."""
    store = open_store(config)
    master, now = store.master, store.clock.unix_ms()

    def write(connection: Connection) -> NewCredential:
        made = renew_secret(connection, master, user_name, now=now)
        note_credential(connection, EventKind.CREDENTIAL_ADDED, made.credential, now)
        return made

    show_secrets((write_now(store.engine, write),), as_json=as_json)


@app.command()
def revoke(user_name: UserName, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """End a credential: no login, and open sessions end at their next MAIL."""
    store = open_store(config)
    now = store.clock.unix_ms()

    def write(connection: Connection) -> None:
        credential = the_credential(connection, user_name)
        revoke_credential(connection, user_name, now=now)
        note_credential(connection, EventKind.CREDENTIAL_REVOKED, credential, now)

    write_now(store.engine, write)
    say(f"revoked {user_name}")


def show_secrets(made: tuple[NewCredential, ...], *, as_json: bool) -> None:
    """Show new credentials with their secrets: nobody can show them again."""
    if as_json:
        say_json(
            [credential_values(one.credential) | {"secret": one.secret} for one in made]
        )
        return
    table = Table("user name", "tenant", "secret")
    for one in made:
        credential = one.credential
        table.add_row(
            credential.user_name, credential.tenant or "(operator)", one.secret
        )
    say(table)
    warn("keep the secret now: it is stored as a hash and can't be shown again")


def credential_values(credential: Credential) -> dict[str, object]:
    """Return a credential as JSON shows it; there is no secret in it."""
    return {
        "user_name": credential.user_name,
        "tenant": credential.tenant,
        "networks": [str(one) for one in credential.networks],
        "label": credential.label,
        "created_at": credential.created_at,
        "revoked_at": credential.revoked_at,
        "last_used_at": credential.last_used_at,
    }


def note_credential(
    connection: Connection, kind: EventKind, credential: Credential, now: int
) -> None:
    """Note in the events what a command did to a credential."""
    perform(
        connection,
        recorded(
            kind,
            at=now,
            actor=actor(),
            tenant=credential.tenant,
            detail={"user_name": credential.user_name},
        ),
    )
