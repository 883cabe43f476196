"""Tenants, domains and small keys for tests of who may send."""

from datetime import timedelta

from sqlalchemy import Connection

from soboo_mta.formats.keys import KeyPair, generate_ed25519, generate_rsa
from soboo_mta.identity.state import (
    Algorithm,
    Alignment,
    DmarcView,
    DomainSettings,
    Facts,
    Mode,
    Purpose,
    RecordCheck,
    RecordStatus,
    RequiredRecord,
)
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import KeyId, TenantId
from soboo_mta.mail.way_out import (
    PROVIDER_SERVERS,
    CustomerMailbox,
    CustomerRelay,
    MailboxAuth,
    MailboxProvider,
    Secret,
    WayOut,
    parse_server,
)
from soboo_mta.ports import RecordType
from soboo_mta.tenancy.accounts import Tenant, add_tenant
from soboo_mta.tenancy.domains import NewDomain, default_zone
from soboo_mta.tenancy.secrets import MasterKey
from soboo_mta.tenancy.signing.keys import add_domain, first_pairs
from soboo_mta.tenancy.signing.slots import drain_ms

MASTER = MasterKey(bytes(range(32)))
DRAIN_MS = drain_ms(timedelta(days=7))
ACME, RIVAL = TenantId("acme"), TenantId("rival")
NAME = Domain("customer.com")
NO_VIEW = DmarcView(
    has_record=False,
    policy="none",
    dkim=Alignment.RELAXED,
    spf=Alignment.RELAXED,
    organizational=(),
)
RELAY = CustomerRelay(server=parse_server("smtp.customer.com:587"), user="esp")
MAILBOX = CustomerMailbox(
    mailbox=parse_mailbox("news@customer.com"),
    provider=MailboxProvider.GOOGLE,
    auth=MailboxAuth.PASSWORD,
    server=PROVIDER_SERVERS[MailboxProvider.GOOGLE],
)
WAYS: dict[object, tuple[WayOut, Secret]] = {
    Mode.RELAY: (RELAY, Secret("open sesame")),
    Mode.MAILBOX: (MAILBOX, Secret("open sesame")),
}


def small_pair(algorithm: Algorithm = Algorithm.RSA) -> KeyPair:
    """A key that is quick to make."""
    if algorithm is Algorithm.ED25519:
        return generate_ed25519()
    return generate_rsa(1024)


def tenant(tenant_id: TenantId = ACME, **values: object) -> Tenant:
    plain: dict[str, object] = {
        "tenant_id": tenant_id,
        "name": tenant_id,
        "suspended": False,
        "weight": 1,
        "hourly_quota": None,
        "daily_quota": None,
    }
    return Tenant(**(plain | values))  # type: ignore[arg-type]  # a test's shorthand


def with_tenants(connection: Connection) -> None:
    for one in (ACME, RIVAL):
        add_tenant(connection, tenant(one), now=1)


def with_domain(
    connection: Connection, owner: TenantId = ACME, **values: object
) -> DomainSettings:
    """A domain of `owner` with its first keys; its tenant must exist."""
    plain: dict[str, object] = {"tenant": owner, "name": NAME}
    if values.get("mode") is Mode.ZONE:
        plain["zone"] = default_zone(NAME, Mode.ZONE)
    if values.get("mode") in WAYS:
        way, secret = WAYS[values["mode"]]
        plain |= {"way_out": way, "secret": secret}
    new = NewDomain(**(plain | values))  # type: ignore[arg-type]  # a test's shorthand
    pairs = first_pairs(new, small_pair)
    return add_domain(connection, MASTER, new, pairs, now=1)


def facts(*usable: KeyId, observed_at: int = 5) -> Facts:
    return Facts(
        usable=usable,
        bounce_ready=True,
        spf_bounce=("default",),
        spf_author=(),
        walk=NO_VIEW,
        suffix_list=NO_VIEW,
        observed_at=observed_at,
    )


def seen(
    status: RecordStatus = RecordStatus.GOOD,
    purpose: Purpose = Purpose.SELECTOR,
    good_at: int | None = 5,
) -> RecordCheck:
    return RecordCheck(
        record=RequiredRecord(
            owner=DnsName("sb1._domainkey.customer.com"),
            kind=RecordType.CNAME,
            value="sb1.token.k.esp.example.",
            purpose=purpose,
            selector=DnsName("sb1") if purpose is Purpose.SELECTOR else None,
        ),
        status=status,
        found="x",
        cause="",
        mend="",
        ttl=60,
        checked_at=5,
        good_at=good_at,
    )
