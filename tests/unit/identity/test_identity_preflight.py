"""The checks of a preflight: from what was observed to what would happen."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.identity.plan import depart
from soboo_mta.identity.preflight.checks import preflight, would_pass
from soboo_mta.identity.preflight.rules import MAILBOX_PROVIDERS, RULES
from soboo_mta.identity.preflight.values import (
    Check,
    Code,
    DmarcSeen,
    KeySeen,
    MailHosts,
    Observed,
    Provider,
    ReportAddress,
    Result,
    ReverseSeen,
    RootSeen,
    SpfSeen,
    Traffic,
)
from soboo_mta.identity.state import (
    Algorithm,
    Alignment,
    Hold,
    OnBroken,
    Plan,
    Refuse,
    SignaturePlan,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import KeyId
from soboo_mta.ports import TlsPolicy
from tests.fakes.domains import (
    BOUNCE,
    CUSTOMER,
    NO_RECORD,
    NOTHING,
    OPERATOR,
    OUT_1,
    SETTINGS,
    STATE,
    VIEW,
    state,
)

_EHLO = OUT_1.ehlo_name
_SIGNATURE = SignaturePlan(CUSTOMER, DnsName("sb1"), KeyId(1), Algorithm.RSA)
_KEY = KeySeen(signature=_SIGNATURE, bits=2048, fault="")
_DMARC = DmarcSeen(
    walk=VIEW,
    suffix_list=VIEW,
    records=("v=DMARC1; p=reject",),
    found_at="_dmarc.customer.com",
    record="v=DMARC1; p=reject",
    is_test=False,
    reports=(),
)
_NO_DMARC = replace(
    _DMARC, walk=NO_RECORD, suffix_list=NO_RECORD, records=(), found_at="", record=""
)
_GOOD = Observed(
    settings=SETTINGS,
    source=OUT_1,
    departure=depart(STATE, OUT_1, OPERATOR),
    spf=SpfSeen(domain=BOUNCE, result="pass", lookups=0, voids=0),
    ehlo_spf=SpfSeen(domain=_EHLO, result="pass"),
    keys=(_KEY,),
    dmarc=_DMARC,
    mail_hosts=(
        MailHosts(domain=CUSTOMER, hosts=("mx.customer.com",)),
        MailHosts(domain=BOUNCE, hosts=("mx1.esp.example",)),
    ),
    reverse=ReverseSeen(names=((_EHLO, (OUT_1.public_address,)),)),
    ehlo_addresses=(OUT_1.public_address,),
    root=RootSeen(records=1, faults=(), remarks=(), is_unanswered=False),
    tls=TlsPolicy.OPPORTUNISTIC,
)


def _checks(
    traffic: Traffic = Traffic.BULK,
    providers: tuple[Provider, ...] = tuple(Provider),
    **seen: object,
) -> tuple[Check, ...]:
    changed = replace(_GOOD, **seen)  # type: ignore[arg-type]  # test shorthand
    return preflight(changed, providers, traffic)


def _one(code: Code, checks: tuple[Check, ...]) -> Check:
    order = list(Result)
    found = [check for check in checks if check.code is code]
    return max(found, key=lambda check: order.index(check.result))


def test_where_all_is_good_every_check_passes_and_names_whose_rule_it_is() -> None:
    checks = _checks()

    assert {check.result for check in checks} == {Result.PASS}
    assert {check.code for check in checks} == set(Code) - {Code.WAY}
    assert would_pass(checks) is True
    asked = _one(Code.DKIM_KEY, checks).asked_by
    assert asked[0] == "gmail since 2024-02: SPF and DKIM pass"
    assert any(one.startswith("microsoft since 2025-05-05") for one in asked)


_ELSEWHERE = (ip_address("192.0.2.99"),)
_SMALL = replace(_KEY, bits=1024)
_UNALIGNED = replace(VIEW, organizational=((CUSTOMER, CUSTOMER), (BOUNCE, BOUNCE)))
_STRICT = replace(VIEW, dkim=Alignment.STRICT, spf=Alignment.STRICT)
_RUA = ReportAddress(
    host="reports.example",
    owner="customer.com._report._dmarc.reports.example",
    is_authorised=False,
)


@pytest.mark.parametrize(
    ("code", "seen", "result", "words"),
    [
        (Code.PLAN, {"departure": Hold("no key")}, Result.HOLD, "held: no key"),
        (Code.PLAN, {"departure": Refuse("no key")}, Result.HOLD, "refused"),
        (Code.PLAN, {"holds": ("tenant acme",)}, Result.HOLD, "by hand: tenant acme"),
        (Code.DKIM_KEY, {"keys": ()}, Result.FIX, "no signature"),
        (Code.DKIM_KEY, {"keys": (replace(_KEY, fault="cut"),)}, Result.FIX, "cut"),
        (
            Code.DKIM_KEY,
            {"keys": (replace(_KEY, fault=None),)},
            Result.UNKNOWN,
            "no answer",
        ),
        (Code.DKIM_KEY, {"keys": (_SMALL,)}, Result.WARN, "1024 bits only"),
        (
            Code.SPF_PASS,
            {"spf": SpfSeen(domain=BOUNCE, result="permerror", lookups=12, voids=3)},
            Result.FIX,
            "permerror; 12 of 10 look-ups, 3 of 2 void",
        ),
        (
            Code.SPF_PASS,
            {"spf": SpfSeen(domain=BOUNCE, result="temperror")},
            Result.UNKNOWN,
            "no answer",
        ),
        (Code.DMARC_REC, {"dmarc": None}, Result.UNKNOWN, "no answer"),
        (Code.DMARC_REC, {"dmarc": _NO_DMARC}, Result.FIX, "no DMARC record applies"),
        (
            Code.DMARC_REC,
            {"dmarc": replace(_NO_DMARC, records=("a", "b"))},
            Result.FIX,
            "2 records: none counts",
        ),
        (
            Code.DMARC_REC,
            {"dmarc": replace(_DMARC, suffix_list=NO_RECORD)},
            Result.FIX,
            "only receivers that go by RFC 9989",
        ),
        (
            Code.DMARC_REC,
            {"dmarc": replace(_DMARC, reports=(_RUA,))},
            Result.WARN,
            "reports.example does not agree",
        ),
        (
            Code.DMARC_REC,
            {"dmarc": replace(_DMARC, walk=_STRICT, is_test=True)},
            Result.PASS,
            "p=reject, adkim=s, aspf=s, t=y",
        ),
        (Code.ALIGN, {"dmarc": None}, Result.UNKNOWN, "nothing is known"),
        (Code.ALIGN, {"keys": (), "spf": None}, Result.FIX, "nothing aligns"),
        (
            Code.ALIGN,
            {"keys": (), "dmarc": replace(_DMARC, walk=_UNALIGNED)},
            Result.FIX,
            "by tree walk (RFC 9989) nothing aligns; by public suffix list SPF of bounce",
        ),
        (
            Code.ALIGN,
            {"keys": (replace(_KEY, fault=None),), "spf": None},
            Result.UNKNOWN,
            "as far as DNS answered",
        ),
        (Code.ALIGN, {"dmarc": _NO_DMARC}, Result.PASS, "DMARC not applicable"),
        (
            Code.MX,
            {"mail_hosts": (MailHosts(domain=CUSTOMER, hosts=("",)),)},
            Result.FIX,
            "null MX",
        ),
        (
            Code.MX,
            {"mail_hosts": (MailHosts(domain=CUSTOMER, hosts=()),)},
            Result.FIX,
            "takes no mail",
        ),
        (
            Code.MX,
            {"mail_hosts": (MailHosts(domain=CUSTOMER, hosts=(), has_address=True),)},
            Result.PASS,
            "without an MX",
        ),
        (
            Code.MX,
            {"mail_hosts": (MailHosts(domain=CUSTOMER, hosts=None),)},
            Result.UNKNOWN,
            "no answer",
        ),
        (Code.FCRDNS, {"reverse": ReverseSeen(names=())}, Result.FIX, "no PTR"),
        (
            Code.FCRDNS,
            {"reverse": ReverseSeen(names=None)},
            Result.UNKNOWN,
            "no answer",
        ),
        (
            Code.FCRDNS,
            {"reverse": ReverseSeen(names=(("h.example", None),))},
            Result.UNKNOWN,
            "no answer",
        ),
        (
            Code.FCRDNS,
            {"reverse": ReverseSeen(names=(("h.example", _ELSEWHERE),))},
            Result.FIX,
            "is called h.example, which leads elsewhere",
        ),
        (
            Code.FCRDNS,
            {
                "reverse": ReverseSeen(
                    names=(("192-0-2-1.dyn.isp.example", (OUT_1.public_address,)),)
                )
            },
            Result.FIX,
            "spells the address",
        ),
        (Code.EHLO, {"ehlo_addresses": None}, Result.UNKNOWN, "no answer"),
        (Code.EHLO, {"ehlo_addresses": ()}, Result.WARN, "leads to nowhere"),
        (Code.EHLO, {"ehlo_addresses": _ELSEWHERE}, Result.WARN, "192.0.2.99 and not"),
        (
            Code.EHLO,
            {"ehlo_spf": SpfSeen(domain=_EHLO, result="none")},
            Result.WARN,
            "null reverse-path, is none",
        ),
        (
            Code.SPFROOT,
            {"root": replace(_GOOD.root, records=2, faults=("2 SPF records",))},
            Result.WARN,
            "2 SPF records",
        ),
        (
            Code.SPFROOT,
            {"root": replace(_GOOD.root, is_unanswered=True)},
            Result.UNKNOWN,
            "no answer",
        ),
        (Code.TLS, {"tls": TlsPolicy.NONE}, Result.FIX, "in clear"),
    ],
)
def test_what_is_observed_weighs_as_the_rules_say(
    code: Code, seen: dict[str, object], result: Result, words: str
) -> None:
    checks = _checks(**seen)
    check = _one(code, checks)

    assert (check.result, words in check.sentence) == (result, True), check
    assert bool(check.mend) is (result is not Result.PASS)
    passes = {Result.HOLD: False, Result.FIX: False, Result.UNKNOWN: None}
    if result in passes:
        assert would_pass(checks) in (passes[result], False)


@pytest.mark.parametrize(
    ("providers", "traffic", "result"),
    [
        (tuple(Provider), Traffic.BULK, Result.FIX),
        ((Provider.GMAIL,), Traffic.BULK, Result.FIX),
        ((Provider.APPLE,), Traffic.BULK, Result.WARN),
        ((), Traffic.BULK, Result.WARN),
        (tuple(Provider), Traffic.TRANSACTIONAL, Result.WARN),
    ],
)
def test_a_missing_dmarc_record_weighs_by_whom_is_asked_about(
    providers: tuple[Provider, ...], traffic: Traffic, result: Result
) -> None:
    checks = preflight(replace(_GOOD, dmarc=_NO_DMARC), providers, traffic)

    assert _one(Code.DMARC_REC, checks).result is result


@pytest.mark.parametrize("name", sorted(MAILBOX_PROVIDERS)[:3])
def test_nobody_else_sends_for_a_mailbox_provider(name: Domain) -> None:
    checks = _checks(settings=replace(SETTINGS, name=name))

    assert _one(Code.FROM, checks).result is Result.HOLD


def test_mail_that_leaves_unaligned_by_a_setting_of_ours_is_to_be_mended() -> None:
    unaligned = depart(
        state(NOTHING, on_broken=OnBroken.SEND_UNALIGNED), OUT_1, OPERATOR
    )
    assert isinstance(unaligned, Plan)

    assert _one(Code.PLAN, _checks(departure=unaligned)).result is Result.FIX


def test_ed25519_alone_carries_nothing() -> None:
    ed25519 = replace(_SIGNATURE, algorithm=Algorithm.ED25519)
    key = KeySeen(signature=ed25519, bits=256, fault="")

    assert _one(Code.ALIGN, _checks(keys=(key,), spf=None)).result is Result.FIX


@pytest.mark.parametrize(
    "signature",
    [
        replace(_SIGNATURE, domain=OPERATOR.domain),
        replace(_SIGNATURE, algorithm=Algorithm.ED25519),
    ],
)
def test_a_signature_beside_the_one_that_is_asked_for_fails_nothing(
    signature: SignaturePlan,
) -> None:
    beside = KeySeen(signature=signature, bits=2048, fault="gone")

    checks = _checks(keys=(_KEY, beside))

    assert _one(Code.DKIM_KEY, checks).result is Result.WARN
    assert would_pass(checks) is True


def test_each_rule_has_a_date_and_no_rule_stands_twice() -> None:
    assert all(rule.since[:2] == "20" for rule in RULES)
    assert len(set(RULES)) == len(RULES)


@given(
    st.sampled_from([_KEY, replace(_KEY, fault=None), replace(_KEY, fault="gone")]),
    st.sampled_from(["pass", "fail", "temperror", "none"]),
    st.sampled_from([_DMARC, _NO_DMARC, None, replace(_DMARC, walk=_STRICT)]),
)
def test_silence_alone_never_fails_a_customer(
    key: KeySeen, spf: str, dmarc: DmarcSeen | None
) -> None:
    """Whatever failed, some check that got an answer says why."""
    checks = _checks(keys=(key,), dmarc=dmarc, spf=SpfSeen(domain=BOUNCE, result=spf))

    if key.fault != "gone" and spf in ("pass", "temperror") and dmarc is not _NO_DMARC:
        assert would_pass(checks) is not False
    if spf == "pass" and key.fault == "" and dmarc is _DMARC:
        assert would_pass(checks) is True
