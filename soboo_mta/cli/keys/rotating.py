"""`soboo-mta key rotate`: the next key signs, planned or in an emergency, without a gap.

An emergency rotation is fenced: the next key signs, every live worker acknowledges (or
its lease dies), and only then is the old key revoked, so that nothing leaves with it.
Then it says what left with the old key and may still be on its way.
"""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    CliStore,
    ConfigPath,
    be_sure,
    open_store,
    say,
    say_json,
    warn,
)
from soboo_mta.cli.domains.chosen import TenantOption, view_of
from soboo_mta.cli.fence import acknowledged
from soboo_mta.cli.keys.revoking import WaitOption, Yes, revoke_now
from soboo_mta.cli.keys.signed import signed_lately, signed_table
from soboo_mta.cli.keys.words import (
    Tell,
    is_seen,
    note_key,
    say_publish,
    say_revocation,
    say_rotation,
)
from soboo_mta.events.event import EventKind
from soboo_mta.identity.keys import ways_out_without
from soboo_mta.identity.records import key_text, selector_owner
from soboo_mta.identity.state import (
    Algorithm,
    DomainSettings,
    KeyState,
    Mode,
    PublicKey,
)
from soboo_mta.identity.zones.zone_text import pieces
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import DomainId
from soboo_mta.store.writer import write_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.domains import DomainView, the_domain
from soboo_mta.tenancy.signing.keys import (
    Revocation,
    Rotation,
    make_pair,
    prepare_next,
    rotate,
    rotate_emergency,
)
from soboo_mta.tenancy.signing.rotation import want_rotation
from soboo_mta.tenancy.signing.slots import DAY_MS, drain_ms

_DAY = timedelta(days=1)


def rotate_keys(
    domain: Annotated[
        str | None, typer.Argument(metavar="[DOMAIN]", help="Whose; or say --operator.")
    ] = None,
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
    as_json: Json = False,
) -> None:
    """Let the next key sign; with --emergency the old one is revoked at once.

    --json is for --emergency: what was done, and what was signed with the old key.
    """
    if operator == (domain is not None):
        raise FormatError("say whose: DOMAIN, or --operator for the operator's keys")
    if as_json and not emergency:
        raise FormatError("--json goes with --emergency alone")
    store = open_store(config)
    view = None if domain is None else view_of(store, domain, tenant)
    if emergency:
        _emergency(store, view, wait=wait, yes=yes, as_json=as_json)
    elif view is not None and view.settings.mode is Mode.MANUAL:
        _rotate_once_published(store, view)
    else:
        settings = None if view is None else view.settings
        say_rotation(say, _rotate(store, settings))
        days = drain_ms(store.settings.signing.signature_life) / DAY_MS
        say(f"the retired key stays published for {days:g} days: mail is under way")
        say_publish(say, settings)


# ---- planned


def _rotate(store: CliStore, settings: DomainSettings | None) -> Rotation:
    pair, master, now = make_pair(Algorithm.RSA), store.master, store.clock.unix_ms()
    drain = drain_ms(store.settings.signing.signature_life)

    def write(connection: Connection) -> Rotation:
        done = rotate(connection, master, _id(settings), pair, now=now, drain=drain)
        for key in done.activated:
            note_key(connection, EventKind.KEY_ACTIVATED, key, settings, now)
        return done

    return write_now(store.engine, write)


def _rotate_once_published(store: CliStore, view: DomainView) -> None:
    """In mode manual the customer publishes the next key: make one, show it, and let the
    relay rotate when every resolver shows it."""
    settings = _prepared(store, view.settings)
    ready = [one for one in settings.keys if one.state is KeyState.NEXT]
    if not ready:
        days = drain_ms(store.settings.signing.signature_life) / DAY_MS
        raise TenancyError(
            f"no selector is free for a next key: a key retired less than {days:g} days"
            " ago is still needed by mail under way"
        )
    for key in ready:
        say(
            f"key {key.key_id}, selector {key.selector}: signs once every resolver has it"
        )
        say(f"the owner of {settings.name} publishes one TXT record:")
        say(f"  name   {selector_owner(settings, key.selector)}")
        quoted = " ".join(f'"{piece}"' for piece in pieces(key_text(key)))
        say(f"  value  {quoted}")
    if view.verified_at is None:
        say(f"{settings.name} was never verified: it waits for its first key too")
    say(
        f"for a DNS host's form: soboo-mta domain records {settings.name} --format panel"
    )
    say(f"what it waits for: soboo-mta key list {settings.name}")


def _prepared(store: CliStore, settings: DomainSettings) -> DomainSettings:
    master, now = store.master, store.clock.unix_ms()
    drain = drain_ms(store.settings.signing.signature_life)
    pair = make_pair(Algorithm.RSA)

    def write(connection: Connection) -> DomainSettings:
        made = prepare_next(
            connection, master, settings.domain_id, pair, now=now, drain=drain
        )
        if made is not None:
            note_key(connection, EventKind.KEY_CREATED, made, settings, now)
        want_rotation(connection, settings.domain_id, now)
        return the_domain(connection, settings.name, tenant=settings.tenant).settings

    return write_now(store.engine, write)


# ---- an emergency


def _emergency(
    store: CliStore, view: DomainView | None, *, wait: float, yes: bool, as_json: bool
) -> None:
    settings = None if view is None else view.settings
    tell: Tell = warn if as_json else say
    seen = view is None or _next_is_seen(view)
    _ask(store, view, seen=seen, yes=yes)
    rotation = _rotate_emergency(store, settings)
    say_rotation(tell, rotation, seen=seen)
    if not acknowledged(store, rotation.generation, wait):
        again = " ".join(str(key.key_id) for key in rotation.retired)
        warn(
            f"not revoked yet; once the workers are well: soboo-mta key revoke {again}"
        )
        raise typer.Exit(FAULT)
    revoked = [revoke_now(store, key) for key in rotation.retired]
    for done in revoked:
        say_revocation(tell, done, settings)
    _report(store, rotation, revoked, as_json=as_json)


def _rotate_emergency(store: CliStore, settings: DomainSettings | None) -> Rotation:
    now = store.clock.unix_ms()

    def write(connection: Connection) -> Rotation:
        done = rotate_emergency(connection, _id(settings), now=now)
        if settings is not None:  # a rotation asked for before has its key by now
            want_rotation(connection, settings.domain_id, None)
        for key in done.activated:
            note_key(connection, EventKind.KEY_ACTIVATED, key, settings, now)
        return done

    return write_now(store.engine, write)


def _ask(store: CliStore, view: DomainView | None, *, seen: bool, yes: bool) -> None:
    """Warn where mail will wait for DNS, whatever was said before; then be sure."""
    if not seen and view is not None:
        warn("no next key was seen in DNS: until one is,")
        for way in ways_out_without(view.state, store.operator):
            warn(f"  {way}")
    if not yes:
        be_sure("revoke the key that signs now, for good?", err=True)


def _report(
    store: CliStore, rotation: Rotation, revoked: list[Revocation], *, as_json: bool
) -> None:
    """What left with the old keys while their signatures count, and what becomes of it."""
    counts = signed_lately(store, [key.key_id for key in rotation.retired])
    if as_json:
        successors = [one.successor for one in revoked if one.successor is not None]
        say_json(
            {
                "retired": _names(rotation.retired),
                "activated": _names(rotation.activated),
                "revoked": _names(one.revoked for one in revoked),
                "next": _names(successors),
                "signed": [asdict(one) for one in counts],
            }
        )
        return
    life = store.settings.signing.signature_life
    say(f"signed with it while its signatures count ({life / _DAY:g} days):")
    say(signed_table(counts))
    if not counts:
        return
    say(
        "once p= is published empty, a receiver that checks one of these later, as behind"
        " a forwarder, finds the key revoked: the signature fails, and where DMARC says"
        " p=reject and SPF does not align the message is refused. What waits here is"
        " signed anew when it leaves."
    )


def _names(keys: Iterable[PublicKey]) -> list[dict[str, object]]:
    return [{"key": key.key_id, "selector": key.selector} for key in keys]


def _next_is_seen(view: DomainView) -> bool:
    ready = [key for key in view.settings.keys if key.state is KeyState.NEXT]
    return any(is_seen(view, key) for key in ready)


def _id(settings: DomainSettings | None) -> DomainId | None:
    return None if settings is None else settings.domain_id
