"""Link and image hosts: asked for while their hosts answer, published once configured."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from soboo_mta.identity.facts_json import facts_from_json, facts_to_json
from soboo_mta.identity.records import operator_records, required_records
from soboo_mta.identity.state import Mode, Purpose
from soboo_mta.identity.web_hosts import WEB_PURPOSES
from soboo_mta.identity.zones.zone import ZoneOptions, operator_zone, zone_records
from soboo_mta.mail.domain import Domain
from tests.fakes.domains import FACTS, OPERATOR, SETTINGS
from tests.unit.identity.test_identity_zone import DELEGATED

_HOSTS = replace(
    OPERATOR,
    link_hosts=(ip_address("192.0.2.81"), ip_address("2001:db8::81")),
    image_hosts=(Domain("cdn.esp.example"),),
)
_OPEN = replace(_HOSTS, open_doors=frozenset(WEB_PURPOSES))


def _asked(operator: object, **changes: object) -> list[str]:
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]  # test shorthand
    return [
        f"{one.owner} {one.kind} {one.value}"
        for one in required_records(settings, operator)  # type: ignore[arg-type]
        if one.purpose in WEB_PURPOSES
    ]


def test_nothing_is_asked_for_before_a_host_answers() -> None:
    assert _asked(OPERATOR) == _asked(_HOSTS) == []
    assert _asked(replace(OPERATOR, open_doors=frozenset(WEB_PURPOSES))) == []


def test_the_customers_names_lead_to_its_own_in_our_zone() -> None:
    assert _asked(_OPEN) == [
        "link.customer.com CNAME tok7.l.esp.example.",
        "img.customer.com CNAME tok7.i.esp.example.",
    ]
    only = replace(_HOSTS, open_doors=frozenset({Purpose.IMAGE}))
    assert _asked(only) == ["img.customer.com CNAME tok7.i.esp.example."]
    required = required_records(SETTINGS, _OPEN)
    assert not any(one.is_required for one in required if one.purpose in WEB_PURPOSES)


@pytest.mark.parametrize("mode", [Mode.MANUAL, Mode.RELAY, Mode.MAILBOX])
def test_other_modes_are_not_asked(mode: Mode) -> None:
    assert _asked(_OPEN, mode=mode) == []


def test_targets_are_published_before_anybody_is_asked() -> None:
    lines = {
        f"{one.owner} {one.kind} {one.value}"
        for one in operator_records(_HOSTS, [SETTINGS])
    }
    wanted = {
        "tok7.l.esp.example A 192.0.2.81",
        "tok7.l.esp.example AAAA 2001:db8::81",
        "tok7.i.esp.example CNAME cdn.esp.example.",
    }
    assert wanted <= lines
    zone = operator_zone(_HOSTS, [SETTINGS], reporting=(), name_servers=())
    assert wanted <= {f"{one.owner} {one.kind} {one.value}" for one in zone.records}


def test_a_delegated_zone_has_the_hosts_themselves() -> None:
    records = zone_records(DELEGATED, _HOSTS, ZoneOptions()).records
    lines = {f"{one.owner} {one.kind} {one.value}" for one in records}
    assert {
        "link.em.customer.com A 192.0.2.81",
        "link.em.customer.com AAAA 2001:db8::81",
        "img.em.customer.com CNAME cdn.esp.example.",
    } <= lines
    zone = operator_zone(_HOSTS, [DELEGATED], reporting=(), name_servers=())
    assert not [one for one in zone.records if ".l.esp" in one.owner]


def test_what_is_ready_is_kept_and_an_older_text_has_none() -> None:
    facts = replace(FACTS, link_ready=True)
    text = facts_to_json(facts)
    assert facts_from_json(text) == facts
    old = text.replace(',"link_ready":true', "").replace('"image_ready":false,', "")
    assert "_ready" not in old.replace("bounce_ready", "")
    assert facts_from_json(old) == FACTS
