"""`soboo-mta key`: DKIM keys rotated, revoked and brought along, without a gap.

An emergency rotation is fenced: the next key signs, every live worker acknowledges (or
its lease dies), and only then is the old key revoked, so that nothing leaves with it.
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    CliStore,
    ConfigPath,
    actor,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.formats.keys import import_private
from soboo_mta.identity.state import (
    Algorithm,
    DomainSettings,
    KeyState,
    Mode,
    PublicKey,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import DomainId, KeyId, TenantId
from soboo_mta.spool.lease import lease_time, live_workers
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError, generation
from soboo_mta.tenancy.domains import (
    DomainView,
    domain_state,
    list_domains,
    the_domain,
)
from soboo_mta.tenancy.keys import (
    Revocation,
    Rotation,
    add_operator_keys,
    find_key,
    import_key,
    make_pair,
    operator_keys,
    prepare_next,
    revoke,
    rotate,
    rotate_emergency,
)
from soboo_mta.tenancy.rotation import want_rotation

_LOOK_AGAIN = 0.1  # seconds between looks at the workers
app = typer.Typer(no_args_is_help=True, help="DKIM keys.", add_completion=False)
DomainArgument = Annotated[str, typer.Argument(metavar="DOMAIN")]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", help="Whose, where several have it.")
]
WaitOption = Annotated[
    float, typer.Option(min=0, help="Seconds to wait for the workers at most.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("list")
def list_keys(
    domain: Annotated[str | None, typer.Argument(metavar="[DOMAIN]")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List the keys of a domain, or all; the operator's own are under (operator)."""
    engine = open_store(config).engine
    name = None if domain is None else Domain.parse(domain)
    views = read_now(engine, lambda connection: list_domains(connection, name=name))
    own = read_now(engine, operator_keys) if name is None else ()
    rows: list[tuple[str, PublicKey, bool | None]] = [
        ("(operator)", key, None) for key in own
    ]
    for view in views:
        title = f"{view.settings.name} ({view.settings.tenant})"
        rows += [(title, key, _seen(view, key)) for key in view.settings.keys]
    if as_json:
        say_json([_values(title, key, seen) for title, key, seen in rows])
        return
    table = Table("key", "domain", "selector", "algorithm", "state", "seen in DNS")
    for title, key, seen in rows:
        table.add_row(
            str(key.key_id),
            title,
            key.selector,
            key.algorithm,
            key.state,
            {None: "", True: "yes", False: "no"}[seen],
        )
    say(table if rows else "there are no keys: soboo-mta domain add makes them")


@app.command("rotate")
def rotate_keys(
    domain: Annotated[str | None, typer.Argument(metavar="[DOMAIN]")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="The operator's own keys.")
    ] = False,
    emergency: Annotated[
        bool, typer.Option("--emergency", help="Revoke the key that signs now.")
    ] = False,
    wait: WaitOption = 30,
    yes: Yes = False,
) -> None:
    """Let the next key sign; with --emergency the old one is revoked at once."""
    if operator == (domain is not None):
        raise FormatError("say whose: DOMAIN, or --operator for the operator's keys")
    store = open_store(config)
    view = None if domain is None else _view(store, domain, tenant)
    settings = None if view is None else view.settings
    if not emergency and view is not None and view.settings.mode is Mode.MANUAL:
        _rotate_once_published(store, view)
        return
    if not emergency:
        _say_rotation(_rotate(store, settings))
        say("the retired key stays published for mail that is under way")
        _say_publish(settings)
        return
    seen = view is None or _next_is_seen(view)
    _ask(seen=seen, yes=yes)
    rotation = _rotate_emergency(store, settings)
    _say_rotation(rotation, seen=seen)
    if not _acknowledged(store, rotation.generation, wait):
        again = " ".join(str(key.key_id) for key in rotation.retired)
        warn(
            f"not revoked yet; once the workers are well: soboo-mta key revoke {again}"
        )
        raise typer.Exit(FAULT)
    for key in rotation.retired:
        _say_revocation(_revoke(store, key), settings)


@app.command("revoke")
def revoke_keys(
    key: Annotated[list[int], typer.Argument(metavar="KEY...", help="Their numbers.")],
    config: ConfigPath = DEFAULT_CONFIG,
    wait: WaitOption = 30,
    yes: Yes = False,
) -> None:
    """Revoke keys that no longer sign: p= is empty, the private half destroyed."""
    store = open_store(config)
    ids = [KeyId(one) for one in key]
    found = read_now(
        store.engine,
        lambda connection: [_key_and_owner(connection, one) for one in ids],
    )
    late = [key for key, _ in found if key.state is KeyState.RETIRING]
    if late and not yes:
        typer.confirm(
            f"{', '.join(f'key {one.key_id}' for one in late)}: retired, and still "
            "published for mail under way, whose signatures fail without it; revoke it "
            "for good?",
            abort=True,
        )
    newest = read_now(store.engine, generation)
    if not _acknowledged(store, newest, wait):
        warn("nothing was revoked: try again once these workers are well or stopped")
        raise typer.Exit(FAULT)
    for one, settings in found:
        _say_revocation(_revoke(store, one), settings)


@app.command("import")
def import_file(
    domain: DomainArgument,
    file: Annotated[Path, typer.Option(help="PEM, PKCS#1 or PKCS#8, no passphrase.")],
    selector: Annotated[str, typer.Option(help="Where its public half is published.")],
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
) -> None:
    """Bring a private key along; it signs after the next `key rotate`."""
    store = open_store(config)
    settings = _view(store, domain, tenant).settings
    try:
        pair = import_private(file.read_bytes())
    except OSError as error:
        raise FormatError(f"cannot read {file}: {error.strerror}") from error
    master, now = store.master, store.clock.unix_ms()
    name = DnsName.parse(selector)

    def write(connection: Connection) -> PublicKey:
        made = import_key(connection, master, settings, name, pair, now=now)
        _note(connection, EventKind.KEY_CREATED, made, settings, now)
        return made

    made = write_now(store.engine, write)
    say(f"imported key {made.key_id}, selector {made.selector}, {made.state}")
    say(f"next: soboo-mta domain records {settings.name}")


@app.command("operator")
def make_operator_keys(
    config: ConfigPath = DEFAULT_CONFIG,
    ed25519: Annotated[bool, typer.Option(help="An Ed25519 key too.")] = False,
) -> None:
    """Make the operator's own keys, for its d= and for notices it sends."""
    store = open_store(config)
    kinds = [Algorithm.RSA, Algorithm.RSA, *([Algorithm.ED25519] if ed25519 else [])]
    pairs = [make_pair(kind) for kind in kinds]
    master, now = store.master, store.clock.unix_ms()

    def write(connection: Connection) -> tuple[PublicKey, ...]:
        made = add_operator_keys(connection, master, pairs, now=now)
        for key in made:
            _note(connection, EventKind.KEY_CREATED, key, None, now)
        return made

    for key in write_now(store.engine, write):
        say(f"made key {key.key_id}, selector {key.selector}, {key.state}")
    say("next: soboo-mta domain records --operator")


# ---- the steps of a rotation


def _rotate(store: CliStore, settings: DomainSettings | None) -> Rotation:
    pair, master, now = make_pair(Algorithm.RSA), store.master, store.clock.unix_ms()

    def write(connection: Connection) -> Rotation:
        done = rotate(connection, master, _id(settings), pair, now=now)
        for key in done.activated:
            _note(connection, EventKind.KEY_ACTIVATED, key, settings, now)
        return done

    return write_now(store.engine, write)


def _rotate_once_published(store: CliStore, view: DomainView) -> None:
    """In mode manual the customer publishes the next key: make one, and let the relay
    rotate when every resolver shows it."""
    settings, master, now = view.settings, store.master, store.clock.unix_ms()
    pair = make_pair(Algorithm.RSA)

    def write(connection: Connection) -> tuple[PublicKey, ...]:
        made = prepare_next(connection, master, settings.domain_id, pair, now=now)
        if made is not None:
            _note(connection, EventKind.KEY_CREATED, made, settings, now)
        want_rotation(connection, settings.domain_id, now)
        return the_domain(
            connection, settings.name, tenant=settings.tenant
        ).settings.keys

    keys = write_now(store.engine, write)
    ready = [one for one in keys if one.state is KeyState.NEXT]
    if not ready:
        raise TenancyError(
            "no selector is free for a next key: a key retired less than 7 days ago is"
            " still needed by mail under way"
        )
    for key in ready:
        say(
            f"key {key.key_id}, selector {key.selector}: signs once every resolver has it"
        )
    say(f"its owner publishes it: soboo-mta domain records {settings.name}")
    say(f"what it waits for: soboo-mta domain verify {settings.name}, and the log")


def _rotate_emergency(store: CliStore, settings: DomainSettings | None) -> Rotation:
    now = store.clock.unix_ms()

    def write(connection: Connection) -> Rotation:
        done = rotate_emergency(connection, _id(settings), now=now)
        for key in done.activated:
            _note(connection, EventKind.KEY_ACTIVATED, key, settings, now)
        return done

    return write_now(store.engine, write)


def _acknowledged(store: CliStore, wanted: int, wait: float) -> bool:
    """Wait until no live worker still uses what was before generation `wanted`."""
    until = store.clock.monotonic() + wait
    while late := read_now(
        store.engine, lambda connection: _late(connection, store, wanted)
    ):
        if store.clock.monotonic() >= until:
            for line in late:
                warn(f"not acknowledged: {line}")
            return False
        time.sleep(_LOOK_AGAIN)
    return True


def _late(connection: Connection, store: CliStore, wanted: int) -> tuple[str, ...]:
    now = lease_time(connection, store.clock)
    return tuple(
        f"worker {one.number}, process {one.process} on {one.host}"
        for one in live_workers(connection, now)
        if one.acknowledged < wanted
    )


def _revoke(store: CliStore, key: PublicKey) -> Revocation:
    pair, master = make_pair(key.algorithm), store.master
    now = store.clock.unix_ms()

    def write(connection: Connection) -> Revocation:
        done = revoke(connection, master, key.key_id, pair, now=now)
        settings = _key_and_owner(connection, key.key_id)[1]
        _note(connection, EventKind.KEY_REVOKED, done.revoked, settings, now)
        if done.successor is not None:
            _note(connection, EventKind.KEY_CREATED, done.successor, settings, now)
        return done

    return write_now(store.engine, write)


def _key_and_owner(
    connection: Connection, key_id: KeyId
) -> tuple[PublicKey, DomainSettings | None]:
    key, owner = find_key(connection, key_id)
    state = None if owner is None else domain_state(connection, owner)
    return key, None if state is None else state.settings


def _next_is_seen(view: DomainView) -> bool:
    ready = [key for key in view.settings.keys if key.state is KeyState.NEXT]
    return any(_seen(view, key) for key in ready)


def _ask(*, seen: bool, yes: bool) -> None:
    """Warn where mail will wait for DNS, whatever was said before; then be sure."""
    if not seen:
        warn(
            "no next key was seen in DNS: until one is, mail leaves by SPF alone where "
            "it aligns, and is held otherwise"
        )
    if not yes:
        typer.confirm("revoke the key that signs now, for good?", abort=True)


def _id(settings: DomainSettings | None) -> DomainId | None:
    return None if settings is None else settings.domain_id


# ---- words


def _say_rotation(rotation: Rotation, *, seen: bool = True) -> None:
    for key in rotation.retired:
        say(f"key {key.key_id}, selector {key.selector}: signs no more")
    for key in rotation.activated:
        when = "from now on" if seen else "once it is seen in DNS"
        say(f"key {key.key_id}, selector {key.selector}: signs {when}")


def _say_revocation(done: Revocation, settings: DomainSettings | None) -> None:
    key, successor = done.revoked, done.successor
    say(f"key {key.key_id}, selector {key.selector}: revoked, its private half is gone")
    if successor is not None:
        say(f"key {successor.key_id}, selector {successor.selector}: {successor.state}")
    _say_publish(settings)


def _say_publish(settings: DomainSettings | None) -> None:
    """In mode manual the keys stand in the customer's zone, else in the operator's."""
    whose = "--operator"
    if settings is not None and settings.mode is Mode.MANUAL:
        whose = settings.name
    say(f"publish now: soboo-mta domain records {whose}")


def _view(store: CliStore, text: str, tenant: str | None) -> DomainView:
    name = Domain.parse(text)
    owner = None if tenant is None else TenantId(tenant)
    return read_now(
        store.engine, lambda connection: the_domain(connection, name, tenant=owner)
    )


def _seen(view: DomainView, key: PublicKey) -> bool:
    facts = view.state.facts
    return facts is not None and key.key_id in facts.usable


def _values(title: str, key: PublicKey, seen: bool | None) -> dict[str, object]:
    return {
        "key": key.key_id,
        "domain": title,
        "selector": key.selector,
        "algorithm": key.algorithm,
        "state": key.state,
        "p": key.p,
        "seen_in_dns": seen,
    }


def _note(
    connection: Connection,
    kind: EventKind,
    key: PublicKey,
    settings: DomainSettings | None,
    now: int,
) -> None:
    perform(
        connection,
        recorded(
            kind,
            at=now,
            actor=actor(),
            tenant=settings.tenant if settings else None,
            domain=settings.name if settings else None,
            detail={"key": key.key_id, "selector": key.selector},
        ),
    )
