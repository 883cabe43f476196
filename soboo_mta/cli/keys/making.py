"""`soboo-mta key import` and `key operator`: keys brought along, and the operator's own."""

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from soboo_mta.cli.context import DEFAULT_CONFIG, ConfigPath, open_store, say, warn
from soboo_mta.cli.domains.chosen import DomainArgument, TenantOption, view_of
from soboo_mta.cli.files import octets_in
from soboo_mta.cli.keys.words import note_key
from soboo_mta.events.event import EventKind
from soboo_mta.formats.keys import WEAK_RSA_BITS, import_private, public_bits
from soboo_mta.identity.state import Algorithm, PublicKey
from soboo_mta.mail.domain import DnsName
from soboo_mta.store.writer import write_now
from soboo_mta.tenancy.signing.keys import add_operator_keys, import_key, make_pair

_MAX_PEM = 65_536  # octets; a key of 4,096 bits takes 3,300


def import_file(
    domain: DomainArgument,
    file: Annotated[
        Path,
        typer.Option(
            help="PEM, PKCS#1 or PKCS#8, without a passphrase; -: standard input."
        ),
    ],
    selector: Annotated[str, typer.Option(help="Where its public half is published.")],
    config: ConfigPath = DEFAULT_CONFIG,
    tenant: TenantOption = None,
) -> None:
    """Bring a private key along; it signs after the next `key rotate`.

    RSA of 1,024 to 4,096 bits, or Ed25519. Where the domain has no key of its kind that
    signs, it does so at once.
    """
    store = open_store(config)
    settings = view_of(store, domain, tenant).settings
    name = DnsName.parse(selector)
    pair = import_private(_read(file))
    master, now = store.master, store.clock.unix_ms()

    def write(connection: Connection) -> PublicKey:
        made = import_key(connection, master, settings, name, pair, now=now)
        note_key(connection, EventKind.KEY_CREATED, made, settings, now)
        return made

    made = write_now(store.engine, write)
    if public_bits(pair.p, pair.algorithm) < WEAK_RSA_BITS and (
        pair.algorithm is Algorithm.RSA
    ):
        warn(
            f"key {made.key_id} has fewer than {WEAK_RSA_BITS} bits: it can be broken"
            " for money; let one of ours take its place with `soboo-mta key rotate`"
        )
    say(f"imported key {made.key_id}, selector {made.selector}, {made.state}")
    say(f"next: soboo-mta domain records {settings.name}")


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
            note_key(connection, EventKind.KEY_CREATED, key, None, now)
        return made

    for key in write_now(store.engine, write):
        say(f"made key {key.key_id}, selector {key.selector}, {key.state}")
    say("next: soboo-mta domain records --operator")


def _read(file: Path) -> bytes:
    """Return the PEM text; warn where others may read its file."""
    octets = octets_in(file, limit=_MAX_PEM)
    if str(file) != "-" and file.stat().st_mode & 0o077:
        warn(
            f"{file} can be read by others, and the key with it: chmod 600 {file}, or"
            " delete it once the key is here"
        )
    return octets
