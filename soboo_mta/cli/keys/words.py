"""What the commands about keys say in the same words, and note in the same events."""

from collections.abc import Callable

from sqlalchemy import Connection

from soboo_mta.cli.context import actor
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.identity.state import DomainSettings, Mode, PublicKey
from soboo_mta.mail.ids import KeyId
from soboo_mta.store.unit import perform
from soboo_mta.tenancy.domains import DomainView, domain_state
from soboo_mta.tenancy.signing.keys import Revocation, Rotation, find_key

Tell = Callable[[str], None]  # to standard output, or beside JSON to standard error


def say_rotation(tell: Tell, rotation: Rotation, *, seen: bool = True) -> None:
    for key in rotation.retired:
        tell(f"key {key.key_id}, selector {key.selector}: signs no more")
    for key in rotation.activated:
        when = "from now on" if seen else "once it is seen in DNS"
        tell(f"key {key.key_id}, selector {key.selector}: signs {when}")


def say_revocation(
    tell: Tell, done: Revocation, settings: DomainSettings | None
) -> None:
    key, successor = done.revoked, done.successor
    tell(
        f"key {key.key_id}, selector {key.selector}: revoked, its private half is gone"
    )
    if successor is not None:
        tell(
            f"key {successor.key_id}, selector {successor.selector}: {successor.state}"
        )
    say_publish(tell, settings)


def say_publish(tell: Tell, settings: DomainSettings | None) -> None:
    """In mode manual the keys stand in the customer's zone, else in the operator's."""
    whose = "--operator"
    if settings is not None and settings.mode is Mode.MANUAL:
        whose = settings.name
    tell(f"publish now: soboo-mta domain records {whose}")


def is_seen(view: DomainView, key: PublicKey) -> bool:
    """Whether the last look found the key published."""
    facts = view.state.facts
    return facts is not None and key.key_id in facts.usable


def key_and_owner(
    connection: Connection, key_id: KeyId
) -> tuple[PublicKey, DomainSettings | None]:
    """Return a key and the domain it is of (None: the operator's, or released)."""
    key, owner = find_key(connection, key_id)
    state = None if owner is None else domain_state(connection, owner)
    return key, None if state is None else state.settings


def note_key(
    connection: Connection,
    kind: EventKind,
    key: PublicKey,
    settings: DomainSettings | None,
    now: int,
) -> None:
    """Record an event about a key, at `now` (unix ms)."""
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
