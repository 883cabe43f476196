"""The MTA-STS policy of bounce hosts, and the records that lead to it."""

import re
from ipaddress import ip_address

from soboo_mta.identity.zones.mta_sts import (
    StsMode,
    StsPolicy,
    policy_text,
    record_text,
    sts_records,
)
from soboo_mta.identity.zones.zone import ZoneOptions, our_names, zone_records
from soboo_mta.mail.domain import DnsName, Domain
from tests.fakes.domains import OPERATOR
from tests.unit.identity.test_identity_zone import DELEGATED

_BOUNCE = Domain("bounce.em.customer.com")
_POLICY = StsPolicy(
    mode=StsMode.ENFORCE,
    hosts=(ip_address("203.0.113.80"), ip_address("2001:db8::80")),
)


def test_the_file_is_what_senders_parse() -> None:
    assert policy_text(StsMode.TESTING, OPERATOR.mx_hosts) == (
        "version: STSv1\r\nmode: testing\r\nmx: mx1.esp.example\r\n"
        "mx: mx2.esp.example\r\nmax_age: 604800\r\n"
    )


def test_the_id_changes_with_the_policy_alone() -> None:
    one = record_text(StsMode.TESTING, OPERATOR.mx_hosts)
    assert re.fullmatch(r"v=STSv1; id=[0-9A-Za-z]{1,32};", one)
    assert one == record_text(StsMode.TESTING, list(OPERATOR.mx_hosts))
    others = (
        record_text(StsMode.ENFORCE, OPERATOR.mx_hosts),
        record_text(StsMode.TESTING, OPERATOR.mx_hosts[:1]),
    )
    assert len({one, *others}) == 3


def test_a_zone_says_it_once_a_host_serves_it() -> None:
    records = zone_records(DELEGATED, OPERATOR, ZoneOptions(sts=_POLICY)).records
    said = [(one.owner, one.kind, one.value) for one in records if "sts" in one.owner]
    assert said == [
        (
            f"_mta-sts.{_BOUNCE}",
            "TXT",
            record_text(StsMode.ENFORCE, OPERATOR.mx_hosts),
        ),
        (f"mta-sts.{_BOUNCE}", "A", "203.0.113.80"),
        (f"mta-sts.{_BOUNCE}", "AAAA", "2001:db8::80"),
    ]
    assert list(sts_records(StsPolicy(), _BOUNCE, OPERATOR.mx_hosts)) == []


def test_nobody_else_writes_at_its_names() -> None:
    names = (DnsName(f"_mta-sts.{_BOUNCE}"), DnsName(f"mta-sts.{_BOUNCE}"))
    assert set(names) <= our_names(DELEGATED)
