"""When a DMARC policy can be raised, and what stands in the way otherwise."""

from dataclasses import replace

import pytest

from soboo_mta.events.reports.dmarc import Whose
from soboo_mta.events.reports.dmarc_view import Reports, SourceTotal, Total
from soboo_mta.identity.dmarc_merge import stricter_policy
from soboo_mta.mail.domain import Domain
from soboo_mta.returns.reports.dmarc_advice import (
    Evidence,
    Shares,
    percent,
    policy_advice,
    shares_of,
)

GOOD = Evidence(
    author=Domain("customer.com"),
    policy="none",
    reports=Reports(
        number=30,
        reporters=(Domain("google.com"), Domain("yahoo.com")),
        days=14,
        unproved=0,
    ),
    shares=Shares(messages=1_000, passed=990, ours=980, ours_passed=980, other=20),
    failed=0,
    sources=(),
)
STRANGER = SourceTotal(
    source="198.51.100.66",
    whose=Whose.OTHER,
    passed=1,
    failed=19,
    spf_domains=("crm.example",),
)


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [("none", "quarantine"), ("quarantine", "reject"), ("reject", None), ("", None)],
)
def test_a_policy_is_raised_by_one_step(policy: str, wanted: str | None) -> None:
    advice = policy_advice(replace(GOOD, policy=policy))
    assert (advice.policy, advice.raise_to) == (policy, wanted)
    assert stricter_policy(policy) == wanted


def test_what_it_rests_on_is_said() -> None:
    assert policy_advice(GOOD).reasons == (
        "1000 messages in reports of 14 days by 2 reporters",
        "99.0 % of all messages pass aligned",
        "nothing from our own addresses failed within 14 days",
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"reports": replace(GOOD.reports, days=13)},
            "there are reports of 13 of the last 30 days: 14 are needed",
        ),
        (
            {"reports": replace(GOOD.reports, reporters=(Domain("google.com"),))},
            "too few report (google.com): 2 are needed",
        ),
        (
            {"shares": Shares(messages=499, passed=499, ours=499, ours_passed=499)},
            "499 messages are reported: 500 are needed",
        ),
        (
            {"shares": replace(GOOD.shares, passed=989)},
            "98.9 % of all messages pass aligned: 99.0 % are needed",
        ),
        ({"failed": 3}, "3 messages from our own addresses failed within 14 days"),
    ],
)
def test_each_obstacle_alone_keeps_the_policy(
    changed: dict[str, object], words: str
) -> None:
    advice = policy_advice(replace(GOOD, **changed))  # type: ignore[arg-type]  # a table's
    assert (advice.raise_to, advice.reasons) == (None, (words,))


def test_sources_that_are_not_us_and_fail_are_named() -> None:
    ours = replace(STRANGER, whose=Whose.OURS, source="192.0.2.10")
    fine = replace(STRANGER, source="198.51.100.1", failed=0)
    advice = policy_advice(
        replace(
            GOOD,
            shares=replace(GOOD.shares, passed=970),
            sources=(ours, fine, STRANGER),
        )
    )
    assert advice.reasons[1:] == (
        "198.51.100.66 is not ours, and 19 of its 20 messages fail"
        " (SPF of crm.example passes)",
    )


def test_at_reject_and_without_a_record_there_is_no_step() -> None:
    assert policy_advice(replace(GOOD, policy="reject")).reasons == (
        "p=reject is in force: there is nothing above it",
    )
    (reason,) = policy_advice(replace(GOOD, policy="")).reasons
    assert reason.startswith("DNS shows no DMARC record in force for customer.com")


def test_totals_are_summed_by_whose_they_are() -> None:
    totals = [
        Total(whose=Whose.OURS, passes=True, messages=90),
        Total(whose=Whose.OURS, passes=False, messages=1),
        Total(whose=Whose.FORWARDED, passes=True, messages=5),
        Total(whose=Whose.OTHER, passes=False, messages=3),
        Total(whose=Whose.REST, passes=True, messages=1),
    ]
    found = shares_of(totals)
    assert found == Shares(
        messages=100,
        passed=96,
        ours=91,
        ours_passed=90,
        forwarded=5,
        other=3,
        rest=1,
    )
    assert (found.share, found.ours_failed) == (0.96, 1)
    assert shares_of(()).share is None


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.98999, "98.9 %"), (0.99, "99.0 %"), (1.0, "100.0 %"), (0.0, "0.0 %")],
)
def test_a_share_is_never_rounded_up(share: float, text: str) -> None:
    assert percent(share) == text
    assert percent(None) == "-"
