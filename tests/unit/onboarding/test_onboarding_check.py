"""One look at a domain: what each state of DNS is called, and which facts follow."""

from dataclasses import replace
from datetime import timedelta

import pytest

from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.plan import depart, is_outdated
from soboo_mta.identity.records import key_text
from soboo_mta.identity.state import (
    Alignment,
    DmarcView,
    DomainSettings,
    DomainState,
    Facts,
    Fault,
    Hold,
    KeyState,
    Mode,
    Plan,
    RecordCheck,
    RecordStatus,
    Rung,
    Verdict,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.check import CheckOptions, CheckResult, DomainCheck
from soboo_mta.onboarding.judging.judge import MAX_SHOWN, Finding, printable
from soboo_mta.onboarding.judging.judge_dmarc import half_known
from soboo_mta.ports import NamedResolver, Unanswered
from tests.fakes.clock import FakeClock
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR, OUT_1, SETTINGS, key, published

SUFFIXES = SuffixList()
MANUAL = replace(SETTINGS, mode=Mode.MANUAL)
SPF_ALONE = replace(MANUAL, keys=())
_SB1 = "sb1._domainkey.customer.com"


class Onlooker:
    """Looks at one domain again and again, each time with what the last look found."""

    def __init__(self, dns: FakeResolver, settings: DomainSettings) -> None:
        self.dns = dns
        self.settings = settings
        self.clock = FakeClock()
        self.facts: Facts | None = None
        self.checks: tuple[RecordCheck, ...] = ()
        self._check = DomainCheck(
            resolver=dns,
            operator=OPERATOR,
            suffixes=SUFFIXES,
            clock=self.clock,
            options=CheckOptions(),
        )

    async def look(self) -> CheckResult:
        result = await self._check.check(self.settings, self.facts, self.checks)
        self.facts, self.checks = result.facts, result.checks
        return result

    def at(self, owner: str) -> RecordCheck:
        return next(check for check in self.checks if check.record.owner == owner)

    def departs(self) -> Plan | Hold:
        state = DomainState(settings=self.settings, was_verified=True, facts=self.facts)
        departure = depart(state, OUT_1, OPERATOR)
        assert isinstance(departure, Plan | Hold)
        return departure

    def rung(self) -> Rung | None:
        departure = self.departs()
        return departure.rung if isinstance(departure, Plan) else None


def _cname() -> Onlooker:
    dns = published(SETTINGS)
    dns.add("bounce.customer.com", "CNAME", "tok7.b.esp.example.")
    for slot in ("sb1", "sb2", "sb3"):
        dns.add(
            f"{slot}._domainkey.customer.com", "CNAME", f"{slot}.tok7.k.esp.example"
        )
    dns.add("_dmarc.customer.com", "TXT", "v=DMARC1; p=reject")
    return Onlooker(dns, SETTINGS)


def _manual() -> Onlooker:
    dns = published(MANUAL)
    for one in MANUAL.keys:
        dns.add(f"{one.selector}._domainkey.customer.com", "TXT", key_text(one))
    dns.add("_dmarc.customer.com", "TXT", "v=DMARC1; p=reject")
    return Onlooker(dns, MANUAL)


def _spf_alone() -> Onlooker:
    dns = published(SPF_ALONE)
    dns.add("_soboo.customer.com", "TXT", "v=soboo1; t=tok7")
    dns.add("customer.com", "TXT", "v=spf1 include:_spf.esp.example ~all")
    dns.add("_dmarc.customer.com", "TXT", "v=DMARC1; p=reject")
    return Onlooker(dns, SPF_ALONE)


# ---- all well


async def test_a_whole_cname_domain_is_owned_and_departs_in_full() -> None:
    customer = _cname()

    result = await customer.look()

    assert result.owned
    assert result.all_good
    assert result.facts.usable == (1, 2)
    assert result.facts.spf_bounce == ("out-1", "out-2")
    assert customer.rung() is Rung.FULL


async def test_a_slot_without_a_key_is_good_by_its_cname_alone() -> None:
    customer = _cname()

    await customer.look()

    assert customer.at("sb3._domainkey.customer.com").status is RecordStatus.GOOD


async def test_a_manual_domain_signs_and_uses_the_operators_bounce_domain() -> None:
    customer = _manual()

    result = await customer.look()

    assert result.owned
    assert customer.rung() is Rung.OPERATOR_BOUNCE


async def test_a_domain_with_spf_alone_departs_bounce_blind() -> None:
    customer = _spf_alone()

    result = await customer.look()
    plan = customer.departs()

    assert result.owned
    assert isinstance(plan, Plan)
    assert (plan.rung, plan.bounce_blind) == (Rung.SPF_ONLY, True)


async def test_case_092_an_spf_include_proves_nothing_about_ownership() -> None:
    customer = _spf_alone()
    customer.dns.remove("_soboo.customer.com")

    result = await customer.look()

    assert result.facts.spf_author == ("out-1", "out-2")
    assert not result.owned


async def test_case_092_another_tenants_token_is_no_proof() -> None:
    customer = _cname()
    for owner in ("bounce", "sb1._domainkey", "sb2._domainkey", "sb3._domainkey"):
        name = f"{owner}.customer.com"
        other = customer.dns.zone[name][0][1].replace("tok7", "tok8")
        customer.dns.replace(name, "CNAME", other)

    result = await customer.look()

    assert not result.owned
    assert result.facts.usable == ()


async def test_a_delegated_zone_signs_with_the_keys_that_we_serve_in_it() -> None:
    zone = replace(
        SETTINGS, mode=Mode.ZONE, name=Domain("em.customer.com"), keys=(key(1, "sb1"),)
    )
    customer = Onlooker(published(zone), zone)
    for number in (1, 2):
        customer.dns.add("em.customer.com", "NS", f"ns{number}.tok7.n.esp.example")

    result = await customer.look()

    assert result.owned
    assert result.facts.usable == (1,)
    assert result.facts.bounce_ready
    plan = customer.departs()
    assert isinstance(plan, Plan)
    assert (plan.rung, plan.verdict) == (Rung.FULL, Verdict.NOT_APPLICABLE)


# ---- what is wrong, in words


async def test_case_069_a_missing_cname_is_called_so_and_counts_at_once() -> None:
    customer = _cname()
    await customer.look()
    customer.dns.remove(_SB1)

    await customer.look()

    seen = customer.at(_SB1)
    assert seen.status is RecordStatus.MISSING
    assert seen.mend == f"publish {_SB1} CNAME sb1.tok7.k.esp.example."
    assert seen.good_at is not None
    assert customer.facts
    assert customer.facts.usable == (2,)


async def test_case_069_a_cname_to_somebody_else_names_whom() -> None:
    customer = _cname()
    customer.dns.replace(_SB1, "CNAME", "s1.other.example.")

    await customer.look()

    seen = customer.at(_SB1)
    assert seen.status is RecordStatus.WRONG
    assert "s1.other.example" in seen.cause


async def test_a_cname_to_a_silent_name_elsewhere_is_wrong_not_unknown() -> None:
    customer = _cname()
    await customer.look()
    customer.dns.replace(_SB1, "CNAME", "s1.other.example.")
    customer.dns.silent.add("s1.other.example")

    await customer.look()

    assert customer.at(_SB1).status is RecordStatus.WRONG
    assert customer.facts
    assert customer.facts.usable == (2,)


async def test_a_silent_name_on_the_way_that_was_good_says_nothing() -> None:
    customer = _cname()
    customer.dns.replace(_SB1, "CNAME", "sb1.keys.customer.net.")
    customer.dns.add("sb1.keys.customer.net", "CNAME", "sb1.tok7.k.esp.example.")
    await customer.look()
    assert customer.at(_SB1).status is RecordStatus.GOOD
    # First all of it is silent, then the name in between alone.
    for silent in ({_SB1, "sb1.keys.customer.net"}, {"sb1.keys.customer.net"}):
        customer.dns.silent = silent
        await customer.look()
        assert customer.at(_SB1).status is RecordStatus.UNKNOWN
        assert customer.facts
        assert customer.facts.usable == (1, 2)
    # Another way was never good.
    customer.dns.silent = {"s1.other.example"}
    customer.dns.replace(_SB1, "CNAME", "s1.other.example.")
    await customer.look()
    assert customer.at(_SB1).status is RecordStatus.WRONG
    assert customer.facts
    assert customer.facts.usable == (2,)


async def test_our_key_without_our_cname_is_flattened_and_does_not_count() -> None:
    customer = _cname()
    customer.dns.remove(_SB1)
    customer.dns.add(_SB1, "TXT", key_text(SETTINGS.keys[0]))

    await customer.look()

    assert "flatten" in customer.at(_SB1).cause
    assert customer.facts
    assert customer.facts.usable == (2,)


@pytest.mark.parametrize("onlooker", [_cname, _manual])
async def test_a_doubled_zone_name_is_recognised(onlooker: object) -> None:
    customer = onlooker()  # type: ignore[operator]
    records = customer.dns.zone.pop(_SB1)
    customer.dns.zone[f"{_SB1}.customer.com"] = records

    await customer.look()

    seen = customer.at(_SB1)
    assert seen.status is RecordStatus.MISSING
    assert "appended twice" in seen.cause


async def test_a_key_that_our_own_zone_does_not_serve_is_the_operators_to_mend() -> (
    None
):
    customer = _cname()
    customer.dns.remove("sb1.tok7.k.esp.example")

    result = await customer.look()

    assert result.owned
    assert customer.at(_SB1).mend.startswith("the operator publishes")
    assert result.facts.usable == (2,)


_KEY = key_text(MANUAL.keys[0])
_P = MANUAL.keys[0].p


@pytest.mark.parametrize(
    ("texts", "cause"),
    [
        ([_KEY[:-60]], "was cut after"),
        ([_KEY.replace(_P, _P.lower())], "capitals were changed"),
        ([f'"{_KEY}"'], "quotation marks"),
        ([_KEY.replace(";", "\\;")], "backslashes"),
        ([_KEY, "v=DKIM1; p=other"], "2 TXT records"),
        (["v=DKIM1; k=rsa; p=AAAA"], "another key"),
        (["v=DKIM1; k=rsa; p="], "empty"),
        (["google-site-verification=x"], "is no tag"),
        (["v=DKIM1; k=rsa"], "no p= tag"),
        ([_KEY.replace("k=rsa", "k=ed25519")], "k= must be rsa"),
        ([_KEY + "; h=sha1"], "sha256"),
        ([_KEY + "; s=tlsrpt"], "e-mail"),
        ([_KEY + "; t=y"], "t=y"),
        ([_KEY + "; p=AAAA"], "twice"),
    ],
)
async def test_case_072_073_a_key_pasted_wrongly_says_how(
    texts: list[str], cause: str
) -> None:
    customer = _manual()
    customer.dns.remove(_SB1)
    for text in texts:
        customer.dns.add(_SB1, "TXT", text)

    await customer.look()

    seen = customer.at(_SB1)
    assert seen.status is RecordStatus.WRONG
    assert cause in seen.cause
    assert customer.facts
    assert 1 not in customer.facts.usable


@pytest.mark.parametrize(
    "text",
    [_KEY, _KEY.replace("v=DKIM1; ", ""), _KEY.replace("; ", ";"), _KEY + ";",
     _KEY + "; t=s; n=note; s=email:*; h=sha1:sha256", _KEY[:99] + " " + _KEY[99:]],
)  # fmt: skip
async def test_case_072_a_key_that_receivers_accept_is_good(text: str) -> None:
    customer = _manual()
    customer.dns.replace(_SB1, "TXT", text)

    await customer.look()

    assert customer.at(_SB1).status is RecordStatus.GOOD
    assert customer.facts
    assert 1 in customer.facts.usable


async def test_a_revoked_key_is_good_once_its_p_is_empty() -> None:
    revoked = replace(MANUAL.keys[0], state=KeyState.REVOKED)
    customer = _manual()
    customer.settings = replace(MANUAL, keys=(revoked, MANUAL.keys[1]))

    await customer.look()
    assert "revoked" in customer.at(_SB1).cause
    customer.dns.replace(_SB1, "TXT", "v=DKIM1; k=rsa; p=")
    await customer.look()

    assert customer.at(_SB1).status is RecordStatus.GOOD
    assert customer.facts
    assert customer.facts.usable == (2,)


@pytest.mark.parametrize(
    ("texts", "status", "cause"),
    [
        ([], RecordStatus.MISSING, "no SPF record"),
        (["v=spf1 -all"], RecordStatus.WRONG, "out-1: fail"),
        (["v=spf1 ip4:192.0.2.1 ~all"], RecordStatus.WRONG, "out-2: softfail"),
        (
            ["v=spf1 include:_spf.esp.example ~all", "v=spf1 -all"],
            RecordStatus.WRONG,
            "2 SPF records",
        ),
    ],
)
async def test_spf_by_hand_says_what_is_wrong(
    texts: list[str], status: RecordStatus, cause: str
) -> None:
    customer = _spf_alone()
    customer.dns.remove("customer.com")
    for text in texts:
        customer.dns.add("customer.com", "TXT", text)

    await customer.look()

    seen = customer.at("customer.com")
    assert seen.status is status
    assert cause in seen.cause


async def test_a_bounce_host_with_foreign_mx_is_not_ready() -> None:
    customer = _cname()
    customer.dns.add("tok7.b.esp.example", "MX", "20 mx.elsewhere.example.")

    result = await customer.look()

    assert not result.facts.bounce_ready
    assert customer.rung() is Rung.OPERATOR_BOUNCE


@pytest.mark.parametrize(
    ("texts", "status"),
    [
        ([], RecordStatus.MISSING),
        (["v=DMARC1; p=none", "v=DMARC1; p=reject"], RecordStatus.WRONG),
        (["v=DMARC1; p=nonsense"], RecordStatus.WRONG),
        (["v=DMARC1; p=reject"], RecordStatus.GOOD),
    ],
)
async def test_dmarc_is_reported_and_gates_nothing(
    texts: list[str], status: RecordStatus
) -> None:
    customer = _cname()
    customer.dns.remove("_dmarc.customer.com")
    for text in texts:
        customer.dns.add("_dmarc.customer.com", "TXT", text)

    result = await customer.look()

    assert customer.at("_dmarc.customer.com").status is status
    assert result.all_good
    plan = customer.departs()
    assert isinstance(plan, Plan)
    assert (plan.verdict is Verdict.PASS) == (status is RecordStatus.GOOD)


async def test_a_parents_dmarc_record_is_found_for_a_subdomain() -> None:
    news = replace(SETTINGS, name=Domain("news.customer.com"))
    customer = Onlooker(published(news), news)
    customer.dns.add(
        "_dmarc.customer.com", "TXT", "v=DMARC1; p=none; sp=reject; aspf=s"
    )

    result = await customer.look()

    assert result.facts.walk.policy == "reject"
    assert result.facts.walk == result.facts.suffix_list
    assert customer.at("_dmarc.news.customer.com").status is RecordStatus.GOOD


# ---- no answer


async def _after_silence(customer: Onlooker, hours: float) -> Rung | None:
    await customer.look()
    customer.dns.silent |= set(customer.dns.zone)
    customer.clock.advance(timedelta(hours=hours).total_seconds())
    await customer.look()
    return customer.rung()


@pytest.mark.parametrize("onlooker", [_cname, _manual, _spf_alone])
@pytest.mark.parametrize(("hours", "is_kept"), [(1, True), (71.9, True), (72.1, False)])
async def test_silence_keeps_what_was_good_for_72_hours(
    onlooker: object, hours: float, is_kept: bool
) -> None:
    before = onlooker()  # type: ignore[operator]
    await before.look()
    customer = onlooker()  # type: ignore[operator]

    after = await _after_silence(customer, hours)

    assert after == (before.rung() if is_kept else None)


async def test_facts_are_as_old_as_the_oldest_answer_that_they_rest_on() -> None:
    customer = _cname()
    await customer.look()
    seen_at = customer.clock.unix_ms()

    await _after_silence(customer, 71)

    assert customer.facts is not None
    assert customer.facts.observed_at == seen_at  # a watch that stops now adds nothing
    await _after_silence(customer, 2)
    assert customer.facts.usable == ()
    assert customer.facts.observed_at == customer.clock.unix_ms()


async def test_repeated_silence_does_not_lengthen_the_72_hours() -> None:
    customer = _cname()
    await customer.look()
    customer.dns.silent |= set(customer.dns.zone)
    rungs = []
    for _ in range(4):
        customer.clock.advance(20 * 3_600)
        await customer.look()
        rungs.append(customer.rung())

    assert rungs == [Rung.FULL, Rung.FULL, Rung.FULL, None]


async def test_silence_after_a_no_does_not_bring_the_good_back() -> None:
    customer = _cname()
    await customer.look()
    held = customer.dns.zone.pop(_SB1)
    await customer.look()
    customer.dns.zone[_SB1] = held
    customer.dns.silent.add(_SB1)

    await customer.look()

    assert customer.at(_SB1).status is RecordStatus.UNKNOWN
    assert customer.facts
    assert customer.facts.usable == (2,)


async def test_silence_at_first_proves_nothing() -> None:
    customer = _cname()
    customer.dns.silent |= set(customer.dns.zone)

    result = await customer.look()

    assert not result.owned
    assert {check.status for check in result.checks} == {RecordStatus.UNKNOWN}
    assert customer.rung() is None


async def test_a_new_key_in_a_slot_inherits_nothing_from_the_old_one() -> None:
    customer = _cname()
    await customer.look()
    customer.settings = replace(SETTINGS, keys=(key(9, "sb1"), SETTINGS.keys[1]))
    customer.dns.silent.add(_SB1)

    await customer.look()

    assert customer.facts
    assert customer.facts.usable == (2,)


async def test_silence_about_dmarc_leaves_identical_signatures_alone() -> None:
    customer = _cname()
    customer.dns.silent.add("_dmarc.customer.com")

    await customer.look()
    plan = customer.departs()

    assert isinstance(plan, Plan)
    assert plan.verdict is Verdict.NOT_APPLICABLE


def test_a_dmarc_record_that_was_seen_is_shown_while_names_above_are_silent() -> None:
    author = Domain("mail.customer.com")
    own = {DnsName(f"_dmarc.{author}"): ("v=DMARC1; p=none",)}
    view = DmarcView(
        has_record=True,
        policy="none",
        dkim=Alignment.RELAXED,
        spf=Alignment.RELAXED,
        organizational=(),
    )
    seen = Finding(
        status=RecordStatus.GOOD, found="v=DMARC1; p=none", walk=view, suffix_list=view
    )

    finding = half_known(seen, own, author, [Unanswered(cause="time-out")])

    assert finding.status is RecordStatus.UNKNOWN  # with whom it aligns is
    assert finding.found == "v=DMARC1; p=none"
    assert finding.cause.startswith("the record is there; names above it were silent")


def test_a_long_foreign_record_is_marked_where_it_is_cut() -> None:
    shown = printable("v=DKIM1; p=" + "A" * 500)

    assert len(shown) <= MAX_SHOWN
    assert shown.endswith("A… (511 characters)")


# ---- when to look again


@pytest.mark.parametrize(
    ("stable", "seconds"),
    [(0, 30), (299, 30), (600, 60), (36_000, 3_600), (9e6, 3_600)],
)
async def test_the_longer_nothing_changes_the_longer_until_the_next_look(
    stable: float, seconds: int
) -> None:
    customer = _cname()
    await customer.look()
    customer.clock.advance(stable)

    result = await customer.look()

    assert result.next_check_at == customer.clock.unix_ms() + seconds * 1_000


async def test_what_changes_is_watched_closely_again() -> None:
    customer = _cname()
    await customer.look()
    customer.clock.advance(36_000)
    customer.dns.replace("_dmarc.customer.com", "TXT", "v=DMARC1; p=quarantine")

    result = await customer.look()

    assert result.next_check_at == customer.clock.unix_ms() + 30_000


async def test_a_broken_domain_is_looked_at_soon_again() -> None:
    customer = _cname()
    customer.dns.ttl = 86_400
    customer.dns.remove(_SB1)

    result = await customer.look()

    assert result.next_check_at == customer.clock.unix_ms() + 30_000


# ---- silence about one thing tells nothing of another


async def test_a_zones_key_that_is_gone_is_unusable_while_the_bounce_host_is_silent() -> (
    None
):
    zone = replace(SETTINGS, mode=Mode.ZONE)
    dns = published(zone)
    for number in (1, 2):
        dns.add("customer.com", "NS", f"ns{number}.tok7.n.esp.example.")
    dns.add("_dmarc.customer.com", "TXT", "v=DMARC1; p=reject")
    customer = Onlooker(dns, zone)
    assert (await customer.look()).facts.usable == (1, 2)

    dns.remove(_SB1, "TXT")
    dns.silent |= {"bounce.customer.com", "sb2._domainkey.customer.com"}
    customer.clock.advance(30)

    assert (await customer.look()).facts.usable == (2,)


async def test_dmarc_made_strict_counts_at_once_while_the_parent_is_silent() -> None:
    customer = _cname()
    for slot in ("sb1", "sb2"):
        customer.dns.remove(f"{slot}.tok7.k.esp.example")
    await customer.look()
    assert customer.rung() is Rung.SPF_ONLY

    customer.dns.silent.add("_dmarc.com")
    customer.clock.advance(30)
    await customer.look()
    assert customer.rung() is Rung.SPF_ONLY  # with whom it aligns is kept

    customer.dns.replace("_dmarc.customer.com", "TXT", "v=DMARC1; p=reject; aspf=s")
    customer.clock.advance(30)
    await customer.look()
    assert customer.rung() is None


async def test_spf_that_fails_for_a_source_counts_at_once_while_anothers_is_unknown() -> (
    None
):
    customer = _spf_alone()
    await customer.look()
    assert customer.rung() is Rung.SPF_ONLY
    one, other = (source.public_address for source in OPERATOR.sources[:2])
    assert str(one) != str(other)

    record = f"v=spf1 -ip4:{one} include:silent.customer.com -all"
    customer.dns.replace("customer.com", "TXT", record)
    customer.dns.silent.add("silent.customer.com")
    customer.clock.advance(30)
    await customer.look()

    assert customer.facts is not None
    assert customer.facts.spf_author == ("out-2",)


async def test_silence_about_dmarc_alone_holds_no_mail_after_72_hours() -> None:
    customer = _cname()
    customer.dns.ttl = 3_600
    result = await customer.look()
    customer.dns.silent.add("_dmarc.customer.com")
    end = customer.clock.unix_ms() + 74 * 3_600_000
    while customer.clock.unix_ms() < end:
        wait = (result.next_check_at - customer.clock.unix_ms()) / 1_000
        customer.clock.advance(wait - 0.001)  # the latest that this look serves for
        state = DomainState(settings=SETTINGS, was_verified=True, facts=customer.facts)
        assert not is_outdated(state, customer.clock.unix_ms())
        customer.clock.advance(0.001)
        result = await customer.look()
    assert customer.facts is not None
    assert not customer.facts.walk.has_record


async def test_names_above_the_organization_are_asked_through_a_cache() -> None:
    customer = _cname()
    recursive = FakeResolver()
    check = DomainCheck(
        resolver=customer.dns,
        operator=OPERATOR,
        suffixes=SUFFIXES,
        clock=customer.clock,
        options=CheckOptions(),
        resolvers=[NamedResolver("near", recursive)],
    )
    await check.check(SETTINGS, None, ())
    assert "_dmarc.com" in {name for name, _ in recursive.asked}
    assert "_dmarc.com" not in {name for name, _ in customer.dns.asked}
    assert "_dmarc.customer.com" in {name for name, _ in customer.dns.asked}


async def test_a_cname_into_a_zone_proves_nothing_of_whose_the_zone_is() -> None:
    """Its target holds no token: another tenant that names the same zone asks for the
    same one, and a slot without a key has nothing of ours to show."""
    settings = replace(
        SETTINGS, mode=Mode.ZONE, zone=Domain("em.customer.com"), keys=()
    )
    dns = FakeResolver()
    dns.add(_SB1, "CNAME", "sb1._domainkey.em.customer.com")
    stranger = Onlooker(dns, settings)

    result = await stranger.look()
    assert stranger.at(_SB1).status is RecordStatus.GOOD
    assert not result.owned


async def test_quotation_marks_around_a_dmarc_record_are_named() -> None:
    customer = _cname()
    customer.dns.remove("_dmarc.customer.com")
    customer.dns.add("_dmarc.customer.com", "TXT", '"v=DMARC1; p=none"')

    await customer.look()

    check = customer.at("_dmarc.customer.com")
    assert check.fault is Fault.QUOTED
    assert "leave them out" in check.mend
