"""Customers' own ways out in the store: settings as they are, secrets sealed.

Functions over one connection; the caller owns the transaction and raises the generation. A
secret is bound to its domain, server and user: moved to another row, or with another server
written beside it, it does not open, so that nobody who can write to the store has it sent
to a server of theirs.
"""

from collections.abc import Collection

from sqlalchemy import Connection, Row, delete, insert, select

from soboo_mta.identity.state import Mode
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import DomainId
from soboo_mta.mail.way_out import (
    CustomerMailbox,
    CustomerRelay,
    MailboxAuth,
    MailboxProvider,
    RelayTls,
    Secret,
    SubmissionServer,
    WayOut,
)
from soboo_mta.store import schema
from soboo_mta.tenancy.secrets import MasterKey

OWN_WAYS: dict[Mode, tuple[type[WayOut], str]] = {
    Mode.RELAY: (CustomerRelay, "the customer's relay, as smtp.customer.com:587"),
    Mode.MAILBOX: (CustomerMailbox, "the customer's mailbox, as news@customer.com"),
}
"""The modes whose mail leaves by the customer's own means: of which kind, and in words."""
_way = schema.way_out.c
_AT_ONCE = 500  # bound parameters are limited (SQLite: 32,766)


def check_way_out(mode: Mode, way: WayOut | None) -> None:
    """Raise FormatError where `way` is not what the mode needs."""
    if mode in OWN_WAYS:
        kind, what = OWN_WAYS[mode]
        if not isinstance(way, kind):
            raise FormatError(f"mode {mode} needs {what}")
    elif way is not None:
        raise FormatError(
            f"a relay or mailbox is for modes relay and mailbox, not {mode}"
        )


def ways_out(
    connection: Connection, domain_ids: Collection[DomainId]
) -> dict[DomainId, WayOut]:
    """Return the ways out of those domains that have one of their own."""
    ids = list(domain_ids)
    found: dict[DomainId, WayOut] = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        rows = connection.execute(
            select(schema.way_out).where(_way.domain_id.in_(some))
        )
        found |= {DomainId(row._mapping["domain_id"]): _to_way(row) for row in rows}
    return found


def secret_of(
    connection: Connection, master: MasterKey, domain_id: DomainId
) -> Secret | None:
    """Return the secret of a domain's way out, None where it has none.

    Raises SecretError where it does not open: sealed under another master key, damaged, or
    of another domain, server or user.
    """
    row = connection.execute(
        select(schema.way_out).where(_way.domain_id == domain_id)
    ).one_or_none()
    sealed = None if row is None else row._mapping["secret"]
    if row is None or sealed is None:
        return None
    context = _context(domain_id, _to_way(row))
    return Secret(master.unseal(bytes(sealed), context=context).decode())


def put_way_out(
    connection: Connection,
    master: MasterKey,
    domain_id: DomainId,
    way: WayOut,
    secret: Secret | None,
) -> None:
    """Store a domain's way out in place of the one it had, if any.

    `secret` None: the one that is stored stays, for the same server and user. Raises
    FormatError where one is needed and there is none.
    """
    if secret is None:
        secret = _kept(connection, master, domain_id, way)
    if way.needs_secret and secret is None:
        raise FormatError(f"give the {_whose(way)}")
    if secret is not None and not way.needs_secret:
        raise FormatError(f"a secret for {way.server} needs the user name it is for")
    sealed = None
    if secret is not None:
        context = _context(domain_id, way)
        sealed = master.seal(secret.reveal().encode(), context=context)
    drop_way_out(connection, domain_id)
    row = _values(way) | {"domain_id": domain_id, "secret": sealed}
    connection.execute(insert(schema.way_out).values(row))


def drop_way_out(connection: Connection, domain_id: DomainId) -> None:
    """Forget a domain's way out and destroy its secret."""
    connection.execute(delete(schema.way_out).where(_way.domain_id == domain_id))


def _kept(
    connection: Connection, master: MasterKey, domain_id: DomainId, way: WayOut
) -> Secret | None:
    """The secret that is stored, where it is for the same server and user."""
    before = ways_out(connection, [domain_id]).get(domain_id)
    if before is None or not before.needs_secret or not way.needs_secret:
        return None
    if _context(domain_id, before) != _context(domain_id, way):
        raise FormatError(
            f"the secret that is stored is the {_whose(before)} and goes nowhere else:"
            f" give the {_whose(way)}"
        )
    return secret_of(connection, master, domain_id)


def _context(domain_id: DomainId, way: WayOut) -> str:
    return f"{_whose(way)} of domain {domain_id}"


def _whose(way: WayOut) -> str:
    kind = "password"
    if isinstance(way, CustomerMailbox) and way.auth is MailboxAuth.OAUTH:
        kind = f"refresh token of {way.oauth_client}"
    return f"{kind} for {way.login} at {way.server}"


# ---- rows and values


def _values(way: WayOut) -> dict[str, object]:
    mailbox = way if isinstance(way, CustomerMailbox) else None
    return {
        "host": str(way.server.host),
        "port": way.server.port,
        "tls": way.server.tls.value,
        "user_name": way.login,
        "provider": mailbox.provider.value if mailbox else None,
        "auth": mailbox.auth.value if mailbox else None,
        "oauth_client": mailbox.oauth_client if mailbox else None,
    }


def _to_way(row: Row[tuple[object, ...]]) -> WayOut:
    one = row._mapping
    server = SubmissionServer(
        host=Domain(one["host"]), port=one["port"], tls=RelayTls(one["tls"])
    )
    if one["provider"] is None:
        return CustomerRelay(server=server, user=one["user_name"])
    return CustomerMailbox(
        mailbox=parse_mailbox(one["user_name"]),
        provider=MailboxProvider(one["provider"]),
        auth=MailboxAuth(one["auth"]),
        server=server,
        oauth_client=one["oauth_client"],
    )
