"""Signing secrets of webhooks: made and opened with the master key."""

from collections.abc import Sequence

from sqlalchemy import Connection

from soboo_mta.events.outbox.webhooks import next_place, put_secret
from soboo_mta.formats.webhooks import SigningSecret
from soboo_mta.tenancy.secrets import MasterKey


def new_secret(
    connection: Connection, master: MasterKey, webhook: int, *, old_until: int
) -> SigningSecret:
    """Give a webhook a fresh secret; those before sign beside it until `old_until`
    (unix ms)."""
    secret, place = SigningSecret.generate(), next_place(connection, webhook)
    sealed = master.seal(secret.reveal().encode(), context=_context(webhook, place))
    put_secret(connection, webhook, place, sealed, old_until=old_until)
    return secret


def opened(
    master: MasterKey, webhook: int, sealed: Sequence[tuple[int, bytes]]
) -> tuple[SigningSecret, ...]:
    """Return the secrets that were sealed; raises SecretError where one does not open."""
    return tuple(
        SigningSecret.parse(
            master.unseal(octets, context=_context(webhook, place)).decode()
        )
        for place, octets in sealed
    )


def _context(webhook: int, place: int) -> str:
    return f"signing secret {place} of webhook {webhook}"
