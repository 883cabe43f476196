"""A customer, an operator and their keys, as values that tests change by `replace`."""

from dataclasses import replace
from ipaddress import ip_address

from soboo_mta.identity.records import operator_records
from soboo_mta.identity.state import (
    Algorithm,
    Alignment,
    DmarcView,
    DomainSettings,
    DomainState,
    Facts,
    KeyState,
    Mode,
    OnBroken,
    Operator,
    PublicKey,
    Source,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import DomainId, KeyId, TenantId
from tests.fakes.clock import START
from tests.fakes.dns import FakeResolver

CUSTOMER = Domain("customer.com")
BOUNCE = Domain("bounce.customer.com")
OUT_1 = Source(
    name="out-1",
    address=None,
    public_address=ip_address("192.0.2.1"),
    ehlo_name=Domain("mta1.esp.example"),
)
OUT_2 = Source(
    name="out-2",
    address=None,
    public_address=ip_address("2001:db8::2"),
    ehlo_name=Domain("mta2.esp.example"),
)


def key(
    key_id: int,
    selector: str,
    state: KeyState = KeyState.ACTIVE,
    algorithm: Algorithm = Algorithm.RSA,
    p: str = "",
) -> PublicKey:
    return PublicKey(
        key_id=KeyId(key_id),
        selector=DnsName(selector),
        algorithm=algorithm,
        state=state,
        p=p or f"MIIBIjANBgKey{key_id}AbCdEf+/" + "Zz09" * 80,
    )


OPERATOR = Operator(
    domain=Domain("esp.example"),
    bounce_domain=Domain("bounce.esp.example"),
    mx_hosts=(Domain("mx1.esp.example"), Domain("mx2.esp.example")),
    sources=(OUT_1, OUT_2),
    keys=(key(900, "op1"),),
)
SETTINGS = DomainSettings(
    domain_id=DomainId(7),
    tenant=TenantId("acme"),
    name=CUSTOMER,
    mode=Mode.CNAME,
    token="tok7",
    bounce_label="bounce",
    selectors=(DnsName("sb1"), DnsName("sb2"), DnsName("sb3")),
    on_broken=OnBroken.HOLD,
    sign_with_operator=False,
    assume_verified=False,
    keys=(key(1, "sb1"), key(2, "sb2", KeyState.NEXT)),
)
VIEW = DmarcView(
    has_record=True,
    policy="reject",
    dkim=Alignment.RELAXED,
    spf=Alignment.RELAXED,
    organizational=((CUSTOMER, CUSTOMER), (BOUNCE, CUSTOMER)),
)
NO_RECORD = replace(VIEW, has_record=False, policy="none")
FACTS = Facts(
    usable=(KeyId(1), KeyId(2)),
    bounce_ready=True,
    spf_bounce=("out-1", "out-2"),
    spf_author=(),
    walk=VIEW,
    suffix_list=VIEW,
    observed_at=int(START.timestamp() * 1_000),
)
NOTHING = replace(FACTS, usable=(), bounce_ready=False, spf_bounce=())
OPERATOR_FACTS = replace(FACTS, usable=(KeyId(900),))
STATE = DomainState(settings=SETTINGS, was_verified=True, facts=FACTS)


def state(facts: Facts | None = FACTS, **changes: object) -> DomainState:
    """STATE with other facts, and with `changes` to its settings."""
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]  # test shorthand
    return DomainState(settings=settings, was_verified=True, facts=facts)


def published(*domains: DomainSettings, operator: Operator = OPERATOR) -> FakeResolver:
    """A DNS in which the operator has published all its records for `domains`."""
    resolver = FakeResolver()
    for record in operator_records(operator, domains):
        resolver.add(record.owner, record.kind, record.value)
    return resolver
