"""What customers and the operator publish, its zone text, and facts as JSON."""

from dataclasses import replace

import dns.rdatatype
import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.identity.facts_json import (
    facts_from_json,
    facts_to_json,
    plan_to_json,
)
from soboo_mta.identity.plan import depart
from soboo_mta.identity.records import operator_records, required_records
from soboo_mta.identity.state import Algorithm, KeyState, Mode, Plan, Purpose
from soboo_mta.identity.zones.zone_text import quoted, records_text, zone_file
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
from soboo_mta.ports import RecordType
from tests.fakes.domains import FACTS, OPERATOR, OUT_1, SETTINGS, key, state


def _lines(mode: Mode, **changes: object) -> list[str]:
    settings = replace(SETTINGS, mode=mode, **changes)  # type: ignore[arg-type]
    return [
        f"{r.owner} {r.kind} {r.value[:60]}{'' if r.is_required else ' ?'}"
        for r in required_records(settings, OPERATOR)
    ]


_DMARC = "_dmarc.customer.com TXT v=DMARC1; p=none ?"


def test_cname_mode_asks_for_the_bounce_host_and_every_slot() -> None:
    assert _lines(Mode.CNAME) == [
        "bounce.customer.com CNAME tok7.b.esp.example.",
        "sb1._domainkey.customer.com CNAME sb1.tok7.k.esp.example.",
        "sb2._domainkey.customer.com CNAME sb2.tok7.k.esp.example.",
        "sb3._domainkey.customer.com CNAME sb3.tok7.k.esp.example.",
        _DMARC,
    ]


def test_manual_mode_asks_for_the_keys_and_suggests_the_include() -> None:
    lines = _lines(Mode.MANUAL)

    assert [line.split(" ")[0] for line in lines] == [
        "sb1._domainkey.customer.com",
        "sb2._domainkey.customer.com",
        "customer.com",
        "_dmarc.customer.com",
    ]
    assert [line.endswith("?") for line in lines] == [False, True, True, True]
    assert "include:_spf.esp.example" in lines[2]


def test_manual_mode_without_a_key_asks_for_ownership_and_spf() -> None:
    assert _lines(Mode.MANUAL, keys=()) == [
        "_soboo.customer.com TXT v=soboo1; t=tok7",
        "customer.com TXT v=spf1 include:_spf.esp.example ~all",
        _DMARC,
    ]


@pytest.mark.parametrize("mode", [Mode.RELAY, Mode.MAILBOX])
def test_relay_and_mailbox_ask_for_the_ownership_record(mode: Mode) -> None:
    required = [line for line in _lines(mode) if not line.endswith("?")]

    assert required == ["_soboo.customer.com TXT v=soboo1; t=tok7"]


def test_a_zone_is_delegated_to_names_that_carry_the_token() -> None:
    assert _lines(Mode.ZONE)[:2] == [
        "customer.com NS ns1.tok7.n.esp.example.",
        "customer.com NS ns2.tok7.n.esp.example.",
    ]


@pytest.mark.parametrize("mode", Mode)
def test_every_mode_asks_for_a_record_that_proves_whose_domain_it_is(
    mode: Mode,
) -> None:
    settings = replace(SETTINGS, mode=mode)
    proofs = [
        record
        for record in required_records(settings, OPERATOR)
        if record.is_required and record.purpose is not Purpose.SPF
    ]

    own = ("tok7", settings.keys[0].p)
    assert proofs
    assert all(any(part in proof.value for part in own) for proof in proofs)


def test_every_cname_target_that_we_name_is_published() -> None:
    published = {record.owner for record in operator_records(OPERATOR, [SETTINGS])}

    assert {"tok7.b.esp.example", "sb1.tok7.k.esp.example"} <= published
    assert "sb3.tok7.k.esp.example" not in published  # no key in that slot


def _published(*keys: object) -> dict[str, list[str]]:
    settings = replace(SETTINGS, keys=keys)  # type: ignore[arg-type]
    found: dict[str, list[str]] = {}
    for record in operator_records(OPERATOR, [settings]):
        if record.owner.endswith(".k.esp.example"):
            found.setdefault(record.owner, []).append(record.value)
    return found


def test_a_revoked_key_is_published_with_an_empty_p() -> None:
    assert _published(key(1, "sb1", KeyState.REVOKED)) == {
        "sb1.tok7.k.esp.example": ["v=DKIM1; k=rsa; p="]
    }


def test_a_slot_used_again_publishes_its_live_key_alone() -> None:
    old, new = key(1, "sb1", KeyState.REVOKED), key(5, "sb1", KeyState.NEXT)

    for keys in ((old, new), (new, old)):
        assert _published(*keys) == {
            "sb1.tok7.k.esp.example": [f"v=DKIM1; k=rsa; p={new.p}"]
        }


def test_ed25519_says_so_in_its_key_record() -> None:
    ed = key(4, "sb4", algorithm=Algorithm.ED25519, p="AAAA")

    assert _published(ed) == {"sb4.tok7.k.esp.example": ["v=DKIM1; k=ed25519; p=AAAA"]}


def test_spf_lists_every_public_address_and_ends_in_fail() -> None:
    by_owner = {
        record.owner: record.value
        for record in operator_records(OPERATOR, [SETTINGS])
        if record.purpose is Purpose.SPF and record.kind is RecordType.TXT
    }

    whole = "v=spf1 ip4:192.0.2.1 ip6:2001:db8::2 -all"
    assert by_owner["tok7.b.esp.example"] == whole
    assert by_owner["bounce.esp.example"] == whole
    assert by_owner["_spf.esp.example"] == whole
    assert by_owner["mta1.esp.example"] == "v=spf1 ip4:192.0.2.1 -all"


def test_the_zone_file_is_one_that_a_name_server_loads() -> None:
    records = operator_records(OPERATOR, [SETTINGS])
    text = zone_file(
        records,
        origin=OPERATOR.domain,
        name_servers=[DnsName("ns1.esp.example")],
        host_master=DnsName("hostmaster.esp.example"),
        serial=7,
        extra=["mx1.esp.example. IN A 192.0.2.25", "ns1.esp.example. IN A 192.0.2.53"],
    )

    zone = dns.zone.from_text(text, origin="esp.example.", relativize=False)

    served = zone.find_rdataset("sb1.tok7.k.esp.example.", dns.rdatatype.TXT)
    assert b"".join(served[0].strings).decode() == (
        f"v=DKIM1; k=rsa; p={SETTINGS.keys[0].p}"
    )
    for record in records:
        assert zone.get_rdataset(record.owner + ".", record.kind.value) is not None


@given(st.text(st.characters(max_codepoint=255), max_size=700))
def test_case_066_quoted_strings_hold_what_was_quoted(value: str) -> None:
    rdata = dns.rdata.from_text("IN", "TXT", quoted(value))

    assert b"".join(rdata.strings).decode("latin-1") == value
    assert all(len(piece) <= 255 for piece in rdata.strings)


def test_records_to_paste_say_which_are_only_recommended() -> None:
    text = records_text(required_records(SETTINGS, OPERATOR))

    assert "bounce.customer.com. IN CNAME tok7.b.esp.example.\n" in text
    assert "; recommended: any valid DMARC record" in text


# ---- JSON


def test_facts_survive_the_store() -> None:
    assert facts_from_json(facts_to_json(FACTS)) == FACTS


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"usable": 3}'])
def test_what_is_not_facts_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        facts_from_json(text)


def test_equal_plans_give_equal_json_and_others_do_not() -> None:
    plan = depart(state(), OUT_1, OPERATOR)
    other = depart(state(sign_with_operator=True), OUT_1, OPERATOR)
    assert isinstance(plan, Plan)
    assert isinstance(other, Plan)

    assert plan_to_json(plan) == plan_to_json(replace(plan))
    assert plan_to_json(plan) != plan_to_json(other)
    assert '"verdict":"pass"' in plan_to_json(plan)
