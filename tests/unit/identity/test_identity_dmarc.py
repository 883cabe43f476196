"""DMARC records, the tree walk, the suffix list, and alignment under both."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.identity.alignment import verdict
from soboo_mta.identity.dmarc import (
    SuffixList,
    names_to_ask,
    names_to_ask_by_suffix,
    organizational_domain,
    parse_record,
    record_at,
    unknown_view,
    view_by_suffix_list,
    view_by_walk,
)
from soboo_mta.identity.state import Alignment, Verdict
from soboo_mta.mail.domain import DnsName, Domain
from tests.fakes.domains import BOUNCE, CUSTOMER, NO_RECORD, VIEW

SUFFIXES = SuffixList()


def _texts(**records: str) -> dict[DnsName, tuple[str, ...]]:
    """`customer_com="v=…"` for the TXT at _dmarc.customer.com."""
    return {
        DnsName("_dmarc." + name.replace("_", ".")): (text,)
        for name, text in records.items()
    }


@pytest.mark.parametrize(
    ("text", "policy", "dkim"),
    [
        ("v=DMARC1; p=reject; adkim=s", "reject", "s"),
        ("v=DMARC1;p=none", "none", "r"),
        (
            "v=DMARC1; adkim=s; pct=50; rua=mailto:a@b.c; p=quarantine;",
            "quarantine",
            "s",
        ),
        ("v = DMARC1 ; P = Reject", "reject", "r"),
        ("v=DMARC1; rua=mailto:a@b.c", "none", "r"),
        ("v=DMARC1; p=nonsense; rua=mailto:a@b.c", "none", "r"),
        ("v=DMARC1; p=reject; p=none", "reject", "r"),
    ],
)
def test_a_record_is_read_in_any_tag_order(text: str, policy: str, dkim: str) -> None:
    record = parse_record(text)

    assert record is not None
    assert (record.policy, record.dkim) == (policy, dkim)


@pytest.mark.parametrize(
    "text",
    ["", "v=DMARC1", "v=dmarc1; p=none", "v=DMARC10; p=none", "p=none; v=DMARC1",
     "v=DMARC1; p=nonsense", "v=DMARC1; p=reject; sp=nonsense", "v=spf1 -all"],
)  # fmt: skip
def test_what_is_no_dmarc_record_applies_to_nobody(text: str) -> None:
    assert parse_record(text) is None


def test_several_records_at_one_name_count_as_none() -> None:
    assert record_at(["v=DMARC1; p=none", "v=DMARC1; p=reject"]) is None
    assert record_at(["google-site-verification=x", "v=DMARC1; p=reject"]) is not None


def test_a_walk_asks_each_parent_up_to_the_top() -> None:
    assert names_to_ask(DnsName("a.mail.example.com")) == (
        "_dmarc.a.mail.example.com",
        "_dmarc.mail.example.com",
        "_dmarc.example.com",
        "_dmarc.com",
    )


@pytest.mark.parametrize("labels", range(2, 40))
def test_a_walk_asks_at_most_eight_names(labels: int) -> None:
    name = DnsName(".".join(f"l{n}" for n in range(labels)))

    asked = names_to_ask(name)

    assert len(asked) == min(labels, 8)
    assert asked[0] == f"_dmarc.{name}"
    if labels > 8:
        assert len(asked[1].split(".")) == 1 + 7


_PSD = "v=DMARC1; p=reject; psd=y"


@pytest.mark.parametrize(
    ("name", "texts", "organizational"),
    [
        ("a.customer.com", {}, "a.customer.com"),
        ("a.customer.com", _texts(customer_com="v=DMARC1; p=none"), "customer.com"),
        (
            "a.b.customer.com",
            _texts(b_customer_com="v=DMARC1; p=none", customer_com="v=DMARC1; p=none"),
            "customer.com",
        ),
        (
            "a.b.customer.com",
            _texts(
                b_customer_com="v=DMARC1; p=none; psd=n",
                customer_com="v=DMARC1; p=none",
            ),
            "b.customer.com",
        ),
        ("a.b.customer.com", _texts(com=_PSD), "customer.com"),
        ("a.b.gov.xx", _texts(gov_xx=_PSD), "b.gov.xx"),
        ("gov.xx", _texts(gov_xx=_PSD), "gov.xx"),
    ],
)
def test_case_074_the_organizational_domain_follows_the_walk(
    name: str, texts: dict[DnsName, tuple[str, ...]], organizational: str
) -> None:
    assert organizational_domain(Domain(name), texts) == organizational


def test_policy_comes_from_author_then_organization_then_suffix() -> None:
    author = Domain("a.customer.com")
    org = "v=DMARC1; p=reject; sp=quarantine; aspf=s"

    own = view_by_walk(
        author, (), _texts(a_customer_com="v=DMARC1; p=none", customer_com=org)
    )
    above = view_by_walk(author, (), _texts(customer_com=org))
    suffix = view_by_walk(author, (), _texts(com=_PSD))
    none = view_by_walk(author, (), {})

    assert (own.policy, own.spf) == ("none", Alignment.RELAXED)
    assert (above.policy, above.spf) == ("quarantine", Alignment.STRICT)
    assert (suffix.has_record, suffix.policy) == (True, "reject")
    assert not none.has_record


def test_the_suffix_list_knows_suffixes_of_several_labels() -> None:
    assert SUFFIXES.organizational_domain(Domain("a.b.co.uk")) == "b.co.uk"
    assert SUFFIXES.organizational_domain(Domain("co.uk")) == "co.uk"
    assert names_to_ask_by_suffix(Domain("a.b.co.uk"), SUFFIXES) == (
        "_dmarc.a.b.co.uk",
        "_dmarc.b.co.uk",
    )


# ---- alignment: the table of reference facts

_EM = Domain("em.customer.com")
_ORG = _texts(customer_com="v=DMARC1; p=reject")


@pytest.mark.parametrize(
    ("author", "signs", "texts", "expected"),
    [
        (CUSTOMER, _EM, _ORG, Verdict.PASS),
        (
            CUSTOMER,
            _EM,
            _ORG | _texts(em_customer_com="v=DMARC1; p=none"),
            Verdict.PASS,
        ),
        (
            CUSTOMER,
            _EM,
            _ORG | _texts(em_customer_com="v=DMARC1; p=none; psd=n"),
            Verdict.FAIL,
        ),
        (CUSTOMER, _EM, _texts(em_customer_com="v=DMARC1; p=none"), Verdict.FAIL),
        (Domain("a.em.customer.com"), CUSTOMER, _ORG, Verdict.PASS),
        (Domain("a.em.customer.com"), CUSTOMER, {}, Verdict.FAIL),
        (CUSTOMER, _EM, _texts(customer_com="v=DMARC1; p=none; adkim=s"), Verdict.FAIL),
        (
            CUSTOMER,
            CUSTOMER,
            _texts(customer_com="v=DMARC1; p=none; adkim=s"),
            Verdict.PASS,
        ),
        (CUSTOMER, CUSTOMER, {}, Verdict.NOT_APPLICABLE),
        (CUSTOMER, Domain("customer.org"), _ORG, Verdict.FAIL),
        (CUSTOMER, Domain("notcustomer.com"), _ORG, Verdict.FAIL),
    ],
)
def test_case_074_a_signature_aligns_by_both_algorithms_or_not_at_all(
    author: Domain,
    signs: Domain,
    texts: dict[DnsName, tuple[str, ...]],
    expected: Verdict,
) -> None:
    assert (
        verdict(
            author,
            walk=view_by_walk(author, (signs,), texts),
            suffix_list=view_by_suffix_list(author, (signs,), texts, SUFFIXES),
            spf_domain=None,
            dkim_domains=(signs,),
        )
        == expected
    )


def test_spf_may_carry_one_algorithm_and_dkim_the_other() -> None:
    split = replace(VIEW, organizational=((CUSTOMER, CUSTOMER), (BOUNCE, BOUNCE)))
    dkim = Domain("em.customer.com")
    other = replace(VIEW, organizational=((CUSTOMER, CUSTOMER), (dkim, CUSTOMER)))

    both = verdict(
        CUSTOMER, walk=VIEW, suffix_list=other, spf_domain=BOUNCE, dkim_domains=(dkim,)
    )
    spf = verdict(
        CUSTOMER, walk=VIEW, suffix_list=split, spf_domain=BOUNCE, dkim_domains=()
    )

    assert (both, spf) == (Verdict.PASS, Verdict.FAIL)


def test_case_074_without_a_record_spf_alone_is_not_enough() -> None:
    def judged(*dkim: Domain) -> Verdict:
        return verdict(
            CUSTOMER,
            walk=NO_RECORD,
            suffix_list=VIEW,
            spf_domain=CUSTOMER,
            dkim_domains=dkim,
        )

    assert judged() is Verdict.FAIL
    assert judged(BOUNCE) is Verdict.FAIL
    assert judged(CUSTOMER) is Verdict.NOT_APPLICABLE


def test_where_nothing_is_known_only_an_identical_name_aligns() -> None:
    unseen = unknown_view()

    def judged(dkim: Domain) -> Verdict:
        return verdict(
            CUSTOMER, walk=unseen, suffix_list=unseen, spf_domain=None,
            dkim_domains=(dkim,),
        )  # fmt: skip

    assert judged(CUSTOMER) is Verdict.NOT_APPLICABLE
    assert judged(BOUNCE) is Verdict.FAIL


@given(st.text(max_size=80), st.text("v=DMARC1;psnoertjc \t", max_size=60))
def test_no_text_makes_the_parser_raise(free: str, near: str) -> None:
    for text in (free, near, f"v=DMARC1;{free}", f"v=DMARC1;{near}"):
        record = parse_record(text)
        assert record is None or record.policy in ("none", "quarantine", "reject")
