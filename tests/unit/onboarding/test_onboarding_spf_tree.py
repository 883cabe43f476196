"""The SPF budget as a tree: what each term costs, and that an evaluation costs the same."""

from ipaddress import ip_address

import pytest
import spftrace
from hypothesis import given, settings
from hypothesis import strategies as st

from soboo_mta.formats.authentication.spf import Door
from soboo_mta.onboarding.spf.tree import SpfBudget
from soboo_mta.onboarding.spf.walk import spf_budget, spf_tree
from tests.fakes.dns import FakeResolver

NAME = "customer.com"


def _dns(**records: str) -> FakeResolver:
    """`customer_com="v=spf1 …"` for a TXT record at customer.com."""
    dns = FakeResolver()
    for name, text in records.items():
        dns.add(name.replace("_", "."), "TXT", text)
    return dns


async def _budget(dns: FakeResolver) -> SpfBudget:
    return await spf_budget(NAME, dns)


async def _evaluated(dns: FakeResolver, client: str) -> spftrace.Result:
    """What the evaluator of the departure counts, to the end of the record."""
    limits = spftrace.Limits(audit=True, max_queries=None)
    evaluator = spftrace.Evaluator(Door(dns), limits)
    return await evaluator.evaluate(client, f"postmaster@{NAME}", NAME)


async def test_each_include_says_what_it_costs_with_all_below() -> None:
    dns = _dns(
        customer_com="v=spf1 include:a.example mx ip4:192.0.2.1 ~all",
        a_example="v=spf1 include:b.example a:host.example -all",
        b_example="v=spf1 ip4:192.0.2.2 -all",
    )
    dns.add(NAME, "MX", "10 mx.customer.com")
    dns.add("mx.customer.com", "A", "192.0.2.9")
    dns.add("mx.customer.com", "AAAA", "2001:db8::9")
    dns.add("host.example", "A", "192.0.2.8")

    budget = await _budget(dns)

    costs = {term.text: term.total_lookups for term in budget.v4.terms}
    assert costs == {
        "include:a.example": 3,
        "mx": 1,
        "ip4:192.0.2.1": 0,
        "~all": 0,
    }
    assert (budget.lookups, budget.v4.total_voids, budget.v6.total_voids) == (4, 0, 1)
    assert budget.faults == ()


async def test_eleven_look_ups_are_over_the_limit() -> None:
    dns = _dns(
        customer_com="v=spf1 " + " ".join(f"a:h{n}.x.example" for n in range(11))
    )
    for number in range(11):
        dns.add(f"h{number}.x.example", "A", "192.0.2.1")
        dns.add(f"h{number}.x.example", "AAAA", "2001:db8::1")

    budget = await _budget(dns)

    assert budget.lookups == 11
    assert budget.faults[0].startswith("11 look-ups where receivers stop at 10")


async def test_three_look_ups_without_result_are_over_the_limit() -> None:
    dns = _dns(
        customer_com="v=spf1 a:x.example a:y.example a:x.example mx:z.example -all"
    )

    budget = await _budget(dns)

    assert (budget.lookups, budget.voids) == (4, 3)  # the same name again is no new one
    assert any("find nothing" in fault for fault in budget.faults)


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        ({}, "customer.com has no SPF record"),
        (
            {"customer_com": "v=spf1 include:gone.example ~all"},
            "gone.example has no SPF",
        ),
        ({"customer_com": "v=spf1 ipv4:192.0.2.1 ~all"}, "unknown mechanism 'ipv4:"),
        ({"customer_com": "v=spf1 ip4:192.0.2.256 ~all"}, "192.0.2.256"),
        ({"customer_com": "v=spf1 include:customer.com ~all"}, "never end"),
        (
            {
                "customer_com": "v=spf1 include:a.example ~all",
                "a_example": "v=spf1 redirect=Customer.com",
            },
            "never end",
        ),
        ({"customer_com": "v=spf1 redirect=a.example redirect=b.example"}, "duplicate"),
    ],
)
async def test_what_makes_the_record_an_error_is_named(
    records: dict[str, str], fault: str
) -> None:
    budget = await _budget(_dns(**records))

    assert any(fault in found for found in budget.faults), budget.faults


async def test_several_records_are_an_error_and_both_are_shown() -> None:
    dns = _dns(customer_com="v=spf1 ip4:192.0.2.1 -all")
    dns.add(NAME, "TXT", "v=spf1 ip4:192.0.2.2 -all")
    dns.add(NAME, "TXT", "site-verification=x")

    budget = await _budget(dns)

    assert len(budget.v4.records) == 2
    assert "2 SPF records" in budget.faults[0]


async def test_a_wrong_term_does_not_hide_what_the_others_cost() -> None:
    dns = _dns(
        customer_com="v=spf1 include:a.example oops:x ip4:1.2.3 ~all",
        a_example="v=spf1 -all",
    )

    budget = await _budget(dns)

    assert budget.lookups == 1
    assert "wrong are oops:x, ip4:1.2.3" in budget.faults[0]


@pytest.mark.parametrize(
    ("record", "is_reached"),
    [
        ("v=spf1 ~all include:a.example", False),
        ("v=spf1 ip4:0.0.0.0/0 include:a.example", False),
        ("v=spf1 include:open.example include:a.example", False),
        ("v=spf1 include:shut.example include:a.example", True),
        ("v=spf1 ip4:192.0.2.0/24 include:a.example", True),
    ],
)
async def test_what_follows_a_term_that_matches_everybody_costs_nothing(
    record: str, is_reached: bool
) -> None:
    dns = _dns(
        customer_com=record,
        a_example="v=spf1 -all",
        open_example="v=spf1 +all",
        shut_example="v=spf1 -all",
    )

    tree = (await _budget(dns)).v4

    assert tree.terms[1].is_reached is is_reached


@pytest.mark.parametrize(
    "record", ["v=spf1 +all", "v=spf1 all", "v=spf1 redirect=open.example"]
)
async def test_a_record_that_passes_for_everybody_is_unwise(record: str) -> None:
    dns = _dns(customer_com=record, open_example="v=spf1 ip4:0.0.0.0/0 ip6:::/0")

    budget = await _budget(dns)

    assert "passes for every address" in budget.remarks[0]
    assert not budget.faults


async def test_a_target_that_is_no_domain_is_not_asked_for() -> None:
    long = "x" * 64
    dns = _dns(
        customer_com=f"v=spf1 a:%{{l}}.{long}.%{{d}} include:%{{l}}.{long}.%{{d}} -all"
    )

    budget = await _budget(dns)

    assert not any(long in name for name, _ in dns.asked)
    assert (budget.lookups, budget.voids) == (2, 0)  # the terms count all the same
    assert "is no domain" in budget.faults[0]


async def test_ptr_costs_and_is_unwise() -> None:
    budget = await _budget(_dns(customer_com="v=spf1 ptr -all"))

    assert budget.lookups == 1
    assert "ptr in the record of customer.com" in budget.remarks[0]


async def test_silence_is_no_fault_of_the_record() -> None:
    dns = _dns(customer_com="v=spf1 include:a.example include:b.example -all")
    dns.add("b.example", "TXT", "v=spf1 -all")
    dns.silent.add("a.example")

    budget = await _budget(dns)

    assert budget.is_unanswered
    assert budget.lookups == 2
    assert budget.faults == ()


async def test_a_tree_that_others_make_endless_is_left_in_time() -> None:
    dns = FakeResolver()
    for number in range(300):
        dns.add(
            f"s{number}.x.example", "TXT", f"v=spf1 include:s{number + 1}.x.example"
        )
    dns.add(NAME, "TXT", "v=spf1 include:s0.x.example -all")

    budget = await _budget(dns)

    assert len(dns.asked) < 250
    assert any("not walked" in fault for fault in budget.faults)


# ---- the evaluator counts the same

_TREES = [
    _dns(
        customer_com="v=spf1 mx a include:a.example exists:%{i}._spf.x.example ~all",
        a_example="v=spf1 a:none.example redirect=b.example",
        b_example="v=spf1 a:none.example include:c.example ?all",
        c_example="v=spf1 mx:none.example ip4:198.51.100.1 -all",
    ),
    _dns(
        customer_com="v=spf1 include:a.example include:a.example redirect=b.example",
        a_example="v=spf1 exists:%{l}.%{d}.x.example -all",
        b_example="v=spf1 ptr:x.example a:%{d2}.x.example mx -all",
    ),
    _dns(customer_com="v=spf1 -all include:a.example"),
    _dns(customer_com="v=spf1 exists:there.example include:gone.example -all"),
]
for _tree in _TREES:
    _tree.add("there.example", "A", "127.0.0.2")
    _tree.add(NAME, "MX", "10 mx1.customer.com")
    _tree.add(NAME, "MX", "20 mx2.customer.com")
    _tree.add("mx1.customer.com", "A", "198.51.100.7")


@pytest.mark.parametrize("dns", _TREES)
@pytest.mark.parametrize("client", ["0.0.0.0", "::"])
async def test_the_totals_are_the_evaluators(dns: FakeResolver, client: str) -> None:
    tree = await spf_tree(NAME, dns, ip_address(client))
    evaluated = await _evaluated(dns, client)

    assert tree.lookups == evaluated.dns_terms_used
    assert tree.total_voids == evaluated.void_lookups_used


_COUNT = 6
_TERM = st.sampled_from(
    ["a", "mx", "a:h.x.example", "a:none.x.example", "mx:h.x.example", "ptr", "-ip4:1.2.3.4",
     "ip6:2001:db8::/32", "exists:%{i}.x.example", "?exists:h.x.example", "-all", "+all",
     *(f"include:s{n}.x.example" for n in range(1, _COUNT)),
     *(f"redirect=s{n}.x.example" for n in range(1, _COUNT))]
)  # fmt: skip


def _only_downwards(number: int, term: str) -> bool:
    """No loops: a record leads to those of higher numbers alone."""
    below = [n for n in range(_COUNT) if f"s{n}.x.example" in term]
    return all(n > number for n in below)


@given(st.lists(st.lists(_TERM, max_size=5), min_size=_COUNT, max_size=_COUNT))
@settings(deadline=None)
async def test_the_totals_of_any_tree_are_the_evaluators(
    trees: list[list[str]],
) -> None:
    dns = FakeResolver()
    dns.add("h.x.example", "A", "198.51.100.7")
    dns.add("h.x.example", "MX", "10 h.x.example")
    for number, terms in enumerate(trees):
        kept = [one for one in terms if _only_downwards(number, one)]
        redirects = [one for one in kept if one.startswith("redirect=")][1:]
        words = [one for one in kept if one not in redirects]
        dns.add(f"s{number}.x.example", "TXT", " ".join(["v=spf1", *words]))
    dns.add(NAME, "TXT", "v=spf1 redirect=s0.x.example")
    for client in ("0.0.0.0", "::"):
        tree = await spf_tree(NAME, dns, ip_address(client))
        evaluated = await _evaluated(dns, client)
        if tree.lookups <= 100:
            assert tree.lookups == evaluated.dns_terms_used
            assert tree.total_voids == evaluated.void_lookups_used
