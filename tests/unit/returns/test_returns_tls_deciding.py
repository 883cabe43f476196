"""What a TLS report counts for, and which of its failures somebody has to mend."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from soboo_mta.formats.authentication import Authentication, Result
from soboo_mta.formats.reports.tls import read_tls_report
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.returned import TlsFailure, TlsReport
from soboo_mta.returns.reports.tls import (
    MAX_FAILURES,
    MAX_HOSTS,
    MAX_OF_HOST,
    MAX_OF_REPORTER,
    MAX_SESSIONS,
    MAX_UNPROVED,
    MENDING,
    Known,
    by_host,
    id_of,
    incidents,
    passed_over,
    reporter_of,
    signed_by,
)
from tests.fakes.tls_reports import EXPIRED, HOST, octets, policy, proof, tls_report

NOW = 1_800_000_000_000
THERE = Domain("there.example")
NEW = Known(is_ours=True, is_counted=False, of_host=0, of_reporter=0)


def read(*policies: dict[str, Any], **changed: Any) -> TlsReport:
    return read_tls_report(octets(tls_report(*policies, ends_at=NOW, **changed)))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, None),
        (proof(), None),
        (proof("there.example"), "there.example"),
        (proof("there.example", author="mta.there.example"), "there.example"),
        (proof("mta.there.example"), None),
        (proof("evil.example"), None),
        (proof("here.example", author="there.example"), None),
        (proof("there.example", result=Result.FAIL), None),
        (proof("there.example", result=Result.POLICY), None),
        (
            proof("there.example", "mta.there.example", author="mta.there.example"),
            "mta.there.example",
        ),
    ],
)
def test_the_author_s_domain_or_one_above_it_has_to_sign(
    found: Authentication | None, expected: str | None
) -> None:
    assert signed_by(found) == expected


def test_policies_of_one_host_are_added_up_by_type_and_kind_of_failure() -> None:
    other = {**EXPIRED, "sending-mta-ip": "198.51.100.63"}
    report = read(
        policy(HOST, EXPIRED, EXPIRED, other),
        policy(HOST.upper(), EXPIRED, succeeded=4),
        policy(HOST, succeeded=1, kind="tlsa"),
        policy("not a domain"),
    )
    found = by_host(report)
    assert list(found) == [HOST]
    sts, tlsa = found[Domain(HOST)]
    assert (sts.policy, sts.succeeded, sts.failed) == ("sts", 5330, 12)
    assert [(one.sending_ip[-2:], one.sessions) for one in sts.failures] == [
        ("62", 9),
        ("63", 3),
    ]
    assert (tlsa.policy, tlsa.succeeded, tlsa.failures) == ("tlsa", 1, ())


def test_what_a_stranger_adds_is_bounded() -> None:
    many = [policy(f"h{number}.example") for number in range(MAX_HOSTS + 30)]
    assert len(by_host(read(*many))) == MAX_HOSTS
    failures = [
        {**EXPIRED, "sending-mta-ip": f"ip{number}", "failed-session-count": 1}
        for number in range(900)
    ]
    (sts,) = by_host(read(policy(HOST, *failures)))[Domain(HOST)]
    assert len(sts.failures) == MAX_FAILURES + 1
    assert sum(one.sessions for one in sts.failures) == 900
    huge = {**EXPIRED, "failed-session-count": 10**12}
    (sts,) = by_host(read(policy(HOST, huge, huge)))[Domain(HOST)]
    assert (sts.failed, sts.failures[0].sessions) == (MAX_SESSIONS, MAX_SESSIONS)
    words = [
        {**EXPIRED, "result-type": f"word{number}"}
        for number in range(3 * MAX_FAILURES)
    ]
    (sts,) = by_host(read(policy(HOST, *words)))[Domain(HOST)]
    assert len(sts.failures) <= 2 * MAX_FAILURES


def test_names_are_of_a_length_that_an_index_holds() -> None:
    report = read(**{"organization-name": "é" * 300, "report_id": "x" * 300})
    assert (len(reporter_of(report)), len(id_of(report))) == (100, 200)
    nameless = replace(report, reporter="", report_id="")
    assert reporter_of(nameless) == "unspecified"
    assert id_of(nameless) == f"{report.begin:%Y%m%d%H%M}"


@pytest.mark.parametrize(
    ("known", "signer", "ended", "why"),
    [
        (NEW, THERE, timedelta(0), ""),
        (NEW, None, timedelta(0), ""),
        (replace(NEW, is_ours=False), THERE, timedelta(0), "no bounce host of ours"),
        (replace(NEW, is_counted=True), THERE, timedelta(0), "counted before"),
        (NEW, THERE, timedelta(days=13), ""),
        (NEW, THERE, timedelta(days=15), "over 14 days ago"),
        (NEW, THERE, timedelta(days=-1), ""),
        (NEW, THERE, timedelta(days=-3), "in the future"),
        (replace(NEW, of_reporter=MAX_OF_REPORTER - 1), THERE, timedelta(0), ""),
        (replace(NEW, of_reporter=MAX_OF_REPORTER), THERE, timedelta(0), "too many"),
        (replace(NEW, of_reporter=MAX_UNPROVED - 1), None, timedelta(0), ""),
        (replace(NEW, of_reporter=MAX_UNPROVED), None, timedelta(0), "too many"),
        (replace(NEW, of_host=MAX_OF_HOST), THERE, timedelta(0), "too many"),
    ],
)
def test_what_is_passed_over_and_why(
    known: Known, signer: Domain | None, ended: timedelta, why: str
) -> None:
    report = read_tls_report(
        octets(tls_report(policy(), ends_at=NOW - ended // timedelta(milliseconds=1)))
    )
    said = passed_over(report, known, proved_by=signer, now=NOW)
    assert (why in said) if why else said == ""


def test_a_report_that_ends_before_it_begins_is_passed_over() -> None:
    report = read(policy())
    wrong = replace(report, begin=report.end, end=report.begin)
    assert "before it begins" in passed_over(wrong, NEW, proved_by=THERE, now=NOW)


@pytest.mark.parametrize("result", sorted(MENDING))
def test_each_result_that_is_ours_to_mend_is_an_incident_with_a_sentence(
    result: str,
) -> None:
    (found,) = incidents(
        by_host(read(policy(HOST, {**EXPIRED, "result-type": result})))[Domain(HOST)],
        proved_by=THERE,
    )
    assert (found.result, found.sessions) == (result, 3)
    assert found.receiving_mx == ("mx.esp.example",)
    assert found.mend.endswith(".")
    assert ". " not in found.mend


def test_nothing_is_told_of_what_is_unproved_unknown_or_did_not_happen() -> None:
    policies = by_host(
        read(
            policy(HOST, EXPIRED),
            policy(HOST, {**EXPIRED, "result-type": "sender-was-tired"}, kind="tlsa"),
        )
    )[Domain(HOST)]
    assert incidents(policies, proved_by=None) == ()
    assert [one.result for one in incidents(policies, proved_by=THERE)] == [
        "certificate-expired"
    ]
    never = replace(
        policies[0], failures=(TlsFailure(result="tlsa-invalid", sessions=0),)
    )
    assert incidents([never], proved_by=THERE) == ()
