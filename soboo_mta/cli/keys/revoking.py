"""`soboo-mta key revoke`, and the fence before any revocation: every live worker has
acknowledged that the key signs no more, or its lease is over."""

from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    CliStore,
    ConfigPath,
    be_sure,
    open_store,
    say,
    warn,
)
from soboo_mta.cli.fence import acknowledged
from soboo_mta.cli.keys.words import key_and_owner, note_key, say_revocation
from soboo_mta.events.event import EventKind
from soboo_mta.identity.state import KeyState, PublicKey
from soboo_mta.mail.ids import KeyId
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import generation
from soboo_mta.tenancy.signing.keys import Revocation, make_pair, revoke
from soboo_mta.tenancy.signing.slots import drain_ms

WaitOption = Annotated[
    float, typer.Option(min=0, help="Seconds to wait for the workers at most.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


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
        lambda connection: [key_and_owner(connection, one) for one in ids],
    )
    late = [key for key, _ in found if key.state is KeyState.RETIRING]
    if late and not yes:
        be_sure(
            f"{', '.join(f'key {one.key_id}' for one in late)}: retired, and still "
            "published for mail under way, whose signatures fail without it; revoke it "
            "for good?",
        )
    newest = read_now(store.engine, generation)
    if not acknowledged(store, newest, wait):
        warn("nothing was revoked: try again once these workers are well or stopped")
        raise typer.Exit(FAULT)
    for one, settings in found:
        say_revocation(say, revoke_now(store, one), settings)


def revoke_now(store: CliStore, key: PublicKey) -> Revocation:
    """Revoke a key that no worker uses any more, and note it."""
    pair, master = make_pair(key.algorithm), store.master
    now = store.clock.unix_ms()
    drain = drain_ms(store.settings.signing.signature_life)

    def write(connection: Connection) -> Revocation:
        done = revoke(connection, master, key.key_id, pair, now=now, drain=drain)
        settings = key_and_owner(connection, key.key_id)[1]
        note_key(connection, EventKind.KEY_REVOKED, done.revoked, settings, now)
        if done.successor is not None:
            note_key(connection, EventKind.KEY_CREATED, done.successor, settings, now)
        return done

    return write_now(store.engine, write)
