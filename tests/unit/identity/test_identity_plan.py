"""The departure plan: every rung of the ladder, and that it never falls off unseen."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.identity.alignment import aligns
from soboo_mta.identity.plan import depart
from soboo_mta.identity.state import (
    Algorithm,
    Alignment,
    DmarcView,
    DomainState,
    Facts,
    Hold,
    KeyState,
    Mode,
    OnBroken,
    Plan,
    Refuse,
    Rung,
    Verdict,
)
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import KeyId
from tests.fakes.domains import (
    BOUNCE,
    CUSTOMER,
    FACTS,
    NO_RECORD,
    NOTHING,
    OPERATOR,
    OPERATOR_FACTS,
    OUT_1,
    OUT_2,
    SETTINGS,
    VIEW,
    key,
    state,
)

_STRICT = replace(VIEW, dkim=Alignment.STRICT, spf=Alignment.STRICT)
_SPLIT = replace(VIEW, organizational=((CUSTOMER, CUSTOMER), (BOUNCE, BOUNCE)))
_NO_BOUNCE = replace(FACTS, bounce_ready=False, spf_bounce=())
_NO_KEY = replace(FACTS, usable=())
_AUTHOR_SPF = replace(NOTHING, spf_author=("out-1",))


def _with_views(facts: Facts, walk: DmarcView, suffix_list: DmarcView) -> Facts:
    return replace(facts, walk=walk, suffix_list=suffix_list)


@pytest.mark.parametrize(
    ("facts", "rung", "bounce", "verdict"),
    [
        (FACTS, Rung.FULL, BOUNCE, Verdict.PASS),
        (_with_views(FACTS, _STRICT, _STRICT), Rung.FULL, BOUNCE, Verdict.PASS),
        (_with_views(FACTS, _SPLIT, VIEW), Rung.FULL, BOUNCE, Verdict.PASS),
        (
            _with_views(FACTS, NO_RECORD, VIEW),
            Rung.FULL,
            BOUNCE,
            Verdict.NOT_APPLICABLE,
        ),
        (_NO_BOUNCE, Rung.OPERATOR_BOUNCE, OPERATOR.bounce_domain, Verdict.PASS),
        (
            replace(FACTS, spf_bounce=("out-2",)),
            Rung.OPERATOR_BOUNCE,
            OPERATOR.bounce_domain,
            Verdict.PASS,
        ),
        (
            _with_views(_NO_BOUNCE, NO_RECORD, NO_RECORD),
            Rung.OPERATOR_BOUNCE,
            OPERATOR.bounce_domain,
            Verdict.NOT_APPLICABLE,
        ),
        (_NO_KEY, Rung.SPF_ONLY, BOUNCE, Verdict.PASS),
        (_AUTHOR_SPF, Rung.SPF_ONLY, None, Verdict.PASS),
        (
            _with_views(_AUTHOR_SPF, _STRICT, _STRICT),
            Rung.SPF_ONLY,
            None,
            Verdict.PASS,
        ),
        (
            replace(_with_views(_NO_KEY, _STRICT, _STRICT), spf_author=("out-1",)),
            Rung.SPF_ONLY,
            None,
            Verdict.PASS,
        ),
    ],
)
def test_the_best_rung_that_bears_is_taken(
    facts: Facts, rung: Rung, bounce: Domain | None, verdict: Verdict
) -> None:
    plan = depart(state(facts), OUT_1, OPERATOR)

    assert isinstance(plan, Plan)
    assert (plan.rung, plan.bounce_domain, plan.verdict) == (rung, bounce, verdict)
    assert plan.bounce_blind is (bounce is None)
    assert plan.ehlo_name == OUT_1.ehlo_name


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        (NOTHING, "sb1._domainkey.customer.com CNAME sb1.tok7.k.esp.example."),
        (NOTHING, "bounce.customer.com CNAME tok7.b.esp.example."),
        (_with_views(_NO_KEY, _STRICT, _STRICT), "sb1._domainkey.customer.com CNAME"),
        (_with_views(_NO_KEY, _STRICT, VIEW), "aspf=s"),
        (_with_views(_NO_KEY, VIEW, _STRICT), "aspf=s"),
        (_with_views(_NO_KEY, _SPLIT, VIEW), "does not align"),
        (_with_views(_NO_KEY, VIEW, _SPLIT), "does not align"),
        (_with_views(_NO_KEY, NO_RECORD, NO_RECORD), "_dmarc.customer.com TXT"),
        (_with_views(_AUTHOR_SPF, NO_RECORD, VIEW), "_dmarc.customer.com TXT"),
        (replace(_AUTHOR_SPF, spf_author=("out-2",)), "out-1 (192.0.2.1)"),
    ],
)
def test_no_aligned_way_out_holds_and_names_what_to_mend(
    facts: Facts, named: str
) -> None:
    held = depart(state(facts), OUT_1, OPERATOR)

    assert isinstance(held, Hold)
    assert named in held.explanation


def test_on_broken_refuse_refuses_with_the_same_words() -> None:
    held = depart(state(NOTHING), OUT_1, OPERATOR)
    refused = depart(state(NOTHING, on_broken=OnBroken.REFUSE), OUT_1, OPERATOR)

    assert isinstance(held, Hold)
    assert refused == Refuse(held.explanation)


def test_send_unaligned_sends_at_the_bottom_of_the_ladder_alone() -> None:
    whole = depart(state(on_broken=OnBroken.SEND_UNALIGNED), OUT_1, OPERATOR)
    broken = depart(state(NOTHING, on_broken=OnBroken.SEND_UNALIGNED), OUT_1, OPERATOR)

    assert isinstance(whole, Plan)
    assert whole.verdict is Verdict.PASS
    assert isinstance(broken, Plan)
    assert (broken.rung, broken.verdict) == (Rung.UNALIGNED, Verdict.FAIL)
    assert broken.bounce_domain == OPERATOR.bounce_domain


@pytest.mark.parametrize("on_broken", OnBroken)
def test_a_domain_never_verified_never_departs(on_broken: OnBroken) -> None:
    unproved = replace(state(on_broken=on_broken), was_verified=False)

    stopped = depart(unproved, OUT_1, OPERATOR)

    assert not isinstance(stopped, Plan)
    assert "sb1._domainkey.customer.com CNAME" in stopped.explanation


@pytest.mark.parametrize("on_broken", OnBroken)
def test_a_domain_not_yet_looked_at_waits(on_broken: OnBroken) -> None:
    assert isinstance(depart(state(None, on_broken=on_broken), OUT_1, OPERATOR), Hold)


# ---- which key signs


def _signers(plan: object) -> list[tuple[str, str, int]]:
    assert isinstance(plan, Plan)
    return [(str(s.domain), str(s.selector), s.key_id) for s in plan.signatures]


def test_the_active_key_signs() -> None:
    assert _signers(depart(state(), OUT_1, OPERATOR)) == [("customer.com", "sb1", 1)]


def test_case_069_the_next_key_signs_when_the_active_one_is_not_to_be_found() -> None:
    facts = replace(FACTS, usable=(KeyId(2),))

    assert _signers(depart(state(facts), OUT_1, OPERATOR)) == [
        ("customer.com", "sb2", 2)
    ]


@pytest.mark.parametrize("gone", [KeyState.RETIRING, KeyState.REVOKED])
def test_case_068_a_retiring_or_revoked_key_never_signs_again(gone: KeyState) -> None:
    keys = (key(1, "sb1", gone),)

    plan = depart(state(keys=keys), OUT_1, OPERATOR)

    assert isinstance(plan, Plan)
    assert plan.signatures == ()
    assert plan.rung is Rung.SPF_ONLY


def test_case_065_ed25519_signs_beside_rsa_and_never_alone() -> None:
    both = (key(1, "sb1"), key(4, "sb4", algorithm=Algorithm.ED25519))
    facts = replace(FACTS, usable=(KeyId(1), KeyId(4)))

    plan = depart(state(facts, keys=both), OUT_1, OPERATOR)
    alone = depart(
        state(replace(facts, usable=(KeyId(4),)), keys=both), OUT_1, OPERATOR
    )

    assert _signers(plan) == [("customer.com", "sb1", 1), ("customer.com", "sb4", 4)]
    assert isinstance(alone, Plan)
    assert alone.signatures == ()
    assert alone.rung is Rung.SPF_ONLY


def test_the_operators_signature_comes_after_the_customers_where_asked_for() -> None:
    asked = state(sign_with_operator=True)

    assert _signers(depart(asked, OUT_1, OPERATOR, OPERATOR_FACTS)) == [
        ("customer.com", "sb1", 1),
        ("esp.example", "op1", 900),
    ]
    gone = replace(OPERATOR_FACTS, usable=())
    assert _signers(depart(asked, OUT_1, OPERATOR, gone)) == [
        ("customer.com", "sb1", 1)
    ]


def test_the_operators_signature_carries_no_alignment_for_a_customer() -> None:
    asked = state(NOTHING, sign_with_operator=True)

    assert isinstance(depart(asked, OUT_1, OPERATOR, OPERATOR_FACTS), Hold)


def test_an_operator_whose_bounce_domain_is_broken_gives_no_rung() -> None:
    gone = replace(OPERATOR_FACTS, bounce_ready=False)

    held = depart(state(_NO_BOUNCE), OUT_1, OPERATOR, gone)
    own = depart(state(replace(FACTS, spf_bounce=())), OUT_1, OPERATOR, gone)

    assert isinstance(held, Hold)
    assert "mx1.esp.example." in held.explanation
    assert isinstance(own, Plan)
    assert own.bounce_domain == BOUNCE


# ---- assume_verified


@pytest.mark.parametrize(
    ("mode", "rung"),
    [(Mode.CNAME, Rung.FULL), (Mode.MANUAL, Rung.OPERATOR_BOUNCE)],
)
def test_assume_verified_needs_no_look_but_a_key(mode: Mode, rung: Rung) -> None:
    assumed = DomainState(
        settings=replace(SETTINGS, mode=mode, assume_verified=True),
        was_verified=False,
        facts=None,
    )
    keyless = replace(assumed, settings=replace(assumed.settings, keys=()))

    plan = depart(assumed, OUT_1, OPERATOR)
    held = depart(keyless, OUT_1, OPERATOR)

    assert isinstance(plan, Plan)
    assert (plan.rung, plan.verdict) == (rung, Verdict.PASS)
    assert isinstance(held, Hold)
    assert "RSA key" in held.explanation


# ---- whatever was observed

_NAMES = st.sampled_from([CUSTOMER, BOUNCE, OPERATOR.domain, OPERATOR.bounce_domain])
_VIEWS = st.builds(
    DmarcView,
    has_record=st.booleans(),
    policy=st.sampled_from(["none", "quarantine", "reject"]),
    dkim=st.sampled_from(Alignment),
    spf=st.sampled_from(Alignment),
    organizational=st.dictionaries(_NAMES, _NAMES).map(lambda d: tuple(d.items())),
)
_SOURCES = st.lists(st.sampled_from(["out-1", "out-2"]), unique=True).map(tuple)
_KEYS = st.lists(
    st.builds(
        key,
        st.integers(1, 5),
        st.sampled_from(["sb1", "sb2", "sb3", "sb4"]),
        st.sampled_from([one for one in KeyState if one is not KeyState.WITHDRAWN]),
        st.sampled_from(Algorithm),
    ),
    max_size=4,
    unique_by=lambda k: k.key_id,
).map(tuple)
_FACTS = st.builds(
    Facts,
    usable=st.lists(st.integers(1, 5).map(KeyId), unique=True).map(tuple),
    bounce_ready=st.booleans(),
    spf_bounce=_SOURCES,
    spf_author=_SOURCES,
    walk=_VIEWS,
    suffix_list=_VIEWS,
    observed_at=st.just(0),
)
_STATES = st.builds(
    DomainState,
    settings=st.builds(
        lambda mode, on_broken, operator, assume, keys: replace(
            SETTINGS,
            mode=mode,
            on_broken=on_broken,
            sign_with_operator=operator,
            assume_verified=assume,
            keys=keys,
        ),
        st.sampled_from(Mode),
        st.sampled_from(OnBroken),
        st.booleans(),
        st.booleans(),
        _KEYS,
    ),
    was_verified=st.booleans(),
    facts=st.none() | _FACTS,
)


@given(_STATES, st.sampled_from([OUT_1, OUT_2]), st.none() | _FACTS)
def test_a_plan_fails_only_where_the_domain_said_so(
    domain: DomainState, source: object, operator_facts: Facts | None
) -> None:
    departure = depart(domain, source, OPERATOR, operator_facts)  # type: ignore[arg-type]

    if not isinstance(departure, Plan):
        assert departure.explanation
        return
    settings = domain.settings
    assert settings.assume_verified or domain.was_verified
    if departure.verdict is Verdict.FAIL:
        assert settings.on_broken is OnBroken.SEND_UNALIGNED
        assert departure.rung is Rung.UNALIGNED


@given(_STATES, _FACTS)
def test_case_074_what_is_said_to_pass_is_aligned_by_what_was_observed(
    domain: DomainState, operator_facts: Facts
) -> None:
    """The oracle is written anew here: names and facts, not the engine's own words."""
    settings, facts = replace(domain.settings, assume_verified=False), domain.facts
    plan = depart(replace(domain, settings=settings), OUT_1, OPERATOR, operator_facts)
    if not isinstance(plan, Plan) or plan.verdict is Verdict.FAIL or facts is None:
        return
    by_id = {k.key_id: k for k in settings.keys}
    dkim = [
        s.domain
        for s in plan.signatures
        if s.domain == CUSTOMER
        and s.algorithm is Algorithm.RSA
        and s.key_id in facts.usable
        and by_id[s.key_id].state in (KeyState.ACTIVE, KeyState.NEXT)
    ]
    theirs = [s.domain for s in plan.signatures if s.domain == OPERATOR.domain]
    spf = {
        BOUNCE: facts.spf_bounce,
        OPERATOR.bounce_domain: operator_facts.spf_bounce,
        None: facts.spf_author,
    }[plan.bounce_domain]
    reverse = plan.bounce_domain or CUSTOMER
    for view in (facts.walk, facts.suffix_list):
        by_dkim = any(aligns(CUSTOMER, d, view, view.dkim) for d in [*dkim, *theirs])
        by_spf = "out-1" in spf and aligns(CUSTOMER, reverse, view, view.spf)
        assert by_dkim or by_spf
    if plan.verdict is Verdict.NOT_APPLICABLE:
        assert not facts.walk.has_record
        assert dkim
    else:
        assert facts.walk.has_record


@given(_STATES, st.none() | _FACTS)
def test_a_bounce_domain_that_does_not_lead_to_us_is_never_used(
    domain: DomainState, operator_facts: Facts | None
) -> None:
    plan = depart(domain, OUT_1, OPERATOR, operator_facts)
    if isinstance(plan, Plan) and plan.bounce_domain == BOUNCE:
        facts = domain.facts
        assert domain.settings.assume_verified or (facts and facts.bounce_ready)


def test_a_plan_keeps_what_its_verdict_rests_on() -> None:
    split = _with_views(FACTS, VIEW, _SPLIT)
    plan = depart(state(split), OUT_1, OPERATOR)
    without = depart(state(_with_views(FACTS, NO_RECORD, VIEW)), OUT_1, OPERATOR)

    assert isinstance(plan, Plan)
    assert plan.by_walk == ("SPF of bounce.customer.com", "DKIM d=customer.com")
    assert plan.by_suffix_list == ("DKIM d=customer.com",)
    assert plan.policy == "reject"
    assert isinstance(without, Plan)
    assert without.policy == ""


# ---- modes without a way out in this release


@pytest.mark.parametrize("mode", [Mode.RELAY, Mode.MAILBOX])
@pytest.mark.parametrize("on_broken", OnBroken)
@pytest.mark.parametrize("assumed", [False, True])
def test_mail_of_a_relays_or_mailboxs_domain_never_leaves_another_way(
    mode: Mode, on_broken: OnBroken, assumed: bool
) -> None:
    spf = replace(FACTS, spf_author=("out-1",))
    one = state(spf, mode=mode, on_broken=on_broken, assume_verified=assumed)
    found = depart(one, OUT_1, OPERATOR, OPERATOR_FACTS)
    kind = Refuse if on_broken is OnBroken.REFUSE else Hold
    assert isinstance(found, kind)
    assert f"mode {mode}: delivery through the customer's {mode} is not" in (
        found.explanation
    )
