"""A DMARC report joined with what is ours: whose each row is, and nothing lost."""

from collections import Counter
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.events.reports.dmarc import Figure, Whose
from soboo_mta.formats.authentication import (
    Authentication,
    DmarcVerdict,
    Identity,
    Result,
    SpfVerdict,
)
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.returned import DmarcRow
from soboo_mta.returns.reports.dmarc import (
    MAX_SIGNED,
    OLDEST,
    Ours,
    authors_of,
    day_text,
    days_of,
    incidents,
    is_replay,
    is_timely,
    joined,
    merged,
    proven_sender,
    signed_counts,
)
from tests.fakes.dmarc_reports import (
    FAILS,
    FORWARDER,
    OUR_ADDRESS,
    SB1,
    STRANGE,
    STRANGER,
    a_report,
    proof,
    row,
    signed,
)
from tests.fakes.tenancy import NAME

NEWS = Domain(f"news.{NAME}")
OURS = Ours(
    addresses=frozenset((ip_address(OUR_ADDRESS), ip_address("2001:db8::7"))),
    signatures=frozenset((SB1, (NAME, DnsName("sb4")))),
    authors=frozenset((NAME, NEWS)),
)


def one(row: DmarcRow) -> Figure:
    (found,) = joined(a_report(20_000, row), NAME, OURS)
    return found


@pytest.mark.parametrize(
    ("source", "changed", "whose"),
    [
        (OUR_ADDRESS, {}, Whose.OURS),
        (OUR_ADDRESS, FAILS, Whose.OURS),
        (f"::ffff:{OUR_ADDRESS}", {}, Whose.OURS),
        ("2001:0db8:0000:0000:0000:0000:0000:0007", {}, Whose.OURS),
        (FORWARDER, {"spf": "fail", "spf_result": "fail"}, Whose.FORWARDED),
        (FORWARDER, {"dkim_results": (signed(selector="SB1"),)}, Whose.FORWARDED),
        (FORWARDER, {"dkim_results": (signed(result="fail"),)}, Whose.OTHER),
        (FORWARDER, {"dkim_results": (signed(selector="s2048"),)}, Whose.OTHER),
        (FORWARDER, {"dkim_results": (signed(selector=""),)}, Whose.OTHER),
        (STRANGER, STRANGE, Whose.OTHER),
        ("no address at all", STRANGE, Whose.OTHER),
        (OUR_ADDRESS, {"header_from": "rival.example"}, Whose.REST),
        (OUR_ADDRESS, {"header_from": ""}, Whose.REST),
    ],
)
def test_a_row_is_whose_its_address_or_its_signature_is(
    source: str, changed: dict[str, Any], whose: Whose
) -> None:
    assert one(row(source, **changed)).whose is whose


def test_a_row_names_what_passed_and_what_is_ours_of_it() -> None:
    results = (signed("list.example", "k1"), signed(), signed(selector="sb4"))
    found = one(row(FORWARDER, 3, dkim_results=results, spf="fail"))
    assert found.signed == (SB1, (NAME, DnsName("sb4")))
    assert (found.dkim_domain, found.spf_domain) == ("list.example", f"bounce.{NAME}")
    assert (found.dkim, found.spf, found.passes, found.messages) == (
        True,
        False,
        True,
        3,
    )
    assert one(row(spf_domain="<b>", disposition="drop")).spf_domain == ""
    assert one(row(disposition="drop")).disposition == ""


def test_rows_are_of_the_from_domain_they_name() -> None:
    rows = (row(header_from=NEWS), row(count=5), row(header_from="rival.example"))
    assert authors_of(a_report(20_000, *rows), NAME) == (NAME, NEWS)
    assert [one.author for one in joined(a_report(20_000, *rows), NAME, OURS)] == [
        NEWS,
        NAME,
        NAME,
    ]


def test_equal_rows_are_one_and_the_heaviest_names_what_passed() -> None:
    rows = (
        row(FORWARDER, 2, spf_domain="small.example"),
        row(FORWARDER, 9, spf_domain="large.example"),
        row(FORWARDER, 1, spf="fail"),
    )
    first, second = merged(joined(a_report(20_000, *rows), NAME, OURS), NAME)
    assert (first.messages, first.spf_domain) == (11, "large.example")
    assert second.messages == 1


def test_over_the_bound_ours_that_fail_stay_and_the_rest_is_summed() -> None:
    rows = [row(f"198.51.100.{n}", 100 + n, **STRANGE) for n in range(6)]
    rows += [row(FORWARDER, 50), row(OUR_ADDRESS, 1, **FAILS)]
    found = merged(joined(a_report(20_000, *rows), NAME, OURS), NAME, 3)
    assert [(one.whose, one.messages) for one in found] == [
        (Whose.OURS, 1),
        (Whose.OTHER, 105),
        (Whose.OTHER, 104),
        (Whose.REST, 103 + 102 + 101 + 100),
        (Whose.REST, 50),
    ]
    assert [one.passes for one in found[3:]] == [False, True]


_ROWS = st.builds(
    row,
    st.sampled_from([OUR_ADDRESS, STRANGER, FORWARDER, "::1", "x" * 300]),
    st.integers(0, 10**9),
    dkim=st.sampled_from(["pass", "fail", ""]),
    spf=st.sampled_from(["pass", "fail", ""]),
    header_from=st.sampled_from([str(NAME), str(NEWS), "rival.example", "", "?"]),
    dkim_results=st.lists(
        st.builds(
            signed,
            st.sampled_from([str(NAME), "\x00", ""]),
            st.sampled_from(["sb1", "sb4", "", "other"]),
            st.sampled_from(["pass", "fail"]),
        ),
        max_size=3,
    ).map(tuple),
    disposition=st.sampled_from(["none", "reject", "x"]),
)


@given(rows=st.lists(_ROWS, max_size=30), limit=st.integers(0, 8))
def test_merging_loses_no_message(rows: list[DmarcRow], limit: int) -> None:
    figures = joined(a_report(20_000, *rows), NAME, OURS)
    found = merged(figures, NAME, limit)
    assert len(found) <= limit + 2
    for passes in (True, False):
        before = sum(one.messages for one in figures if one.passes is passes)
        assert sum(one.messages for one in found if one.passes is passes) == before
    assert sum(row.count for row in rows) == sum(one.messages for one in found)


def test_each_signature_is_counted_and_from_where() -> None:
    both = (signed(), signed(selector="sb4"))
    rows = (
        row(count=10, dkim_results=both),
        row(FORWARDER, 3),
        row(FORWARDER, 4, header_from=f"other.{NAME}"),
        row(STRANGER, 7, **STRANGE),
    )
    found = signed_counts(joined(a_report(20_000, *rows), NAME, OURS), OURS.authors)
    assert [(c.signature[1], c.author, c.messages, c.elsewhere) for c in found] == [
        ("sb1", NAME, 13, 3),
        ("sb4", NAME, 10, 0),
    ]


def test_signatures_of_one_report_are_bounded() -> None:
    authors = frozenset(Domain(f"n{n}.{NAME}") for n in range(MAX_SIGNED + 5))
    rows = [row(count=n, header_from=one) for n, one in enumerate(sorted(authors))]
    found = signed_counts(joined(a_report(20_000, *rows), NAME, OURS), authors)
    assert len(found) == MAX_SIGNED
    assert min(one.messages for one in found) == 5


def test_what_of_ours_fails_is_an_incident_with_the_words_of_the_report() -> None:
    rows = (
        row(OUR_ADDRESS, 2, **FAILS),
        row("2001:db8::7", 5, **{**FAILS, "dkim_results": (), "spf_result": ""}),
        row(OUR_ADDRESS, 99, spf="fail"),
        row(STRANGER, 50, **STRANGE),
        row(OUR_ADDRESS, 1, **FAILS, header_from=f"strange.{NAME}"),
        row(OUR_ADDRESS, 1, **FAILS, header_from=NEWS),
    )
    report = a_report(20_000, *rows)
    found = incidents(report, joined(report, NAME, OURS), OURS.authors)
    assert [(i.author, i.source, i.messages, i.dkim, i.spf) for i in found] == [
        (NAME, "2001:db8::7", 7, "none", f"none bounce.{NAME}"),
        (NEWS, OUR_ADDRESS, 1, f"fail d={NAME} s=sb1", f"softfail bounce.{NAME}"),
    ]


@pytest.mark.parametrize(
    ("reported", "sent", "is_one"),
    [
        (0, 0, False),
        (10, 0, False),
        (11, 0, True),
        (100, 100, False),
        (1_020, 1_000, False),
        (1_021, 1_000, True),
    ],
)
def test_a_replay_is_more_than_was_sent_and_a_little(
    reported: int, sent: int, is_one: bool
) -> None:
    assert is_replay(reported, sent) is is_one


def _authentication(
    author: str | None, result: Result, spf: str | None = None
) -> Authentication:
    return Authentication(
        spf=SpfVerdict(
            result=Result.PASS if spf else Result.FAIL,
            identity=Identity.MAILFROM,
            domain=Domain(spf) if spf else None,
        ),
        dkim=(),
        dmarc=DmarcVerdict(result=result, author=Domain(author) if author else None),
    )


@pytest.mark.parametrize(
    ("author", "result", "spf", "sender"),
    [
        ("google.com", Result.PASS, None, "google.com"),
        ("google.com", Result.FAIL, "evil.example", None),
        ("google.com", Result.TEMPERROR, "google.com", None),
        ("small.example", Result.NONE, "small.example", "small.example"),
        ("small.example", Result.NONE, "mail.small.example", None),
        ("small.example", Result.NONE, "evil.example", None),
        (None, Result.NONE, "evil.example", None),
    ],
)
def test_a_report_is_its_author_domains_where_that_is_proved(
    author: str | None, result: Result, spf: str | None, sender: str | None
) -> None:
    assert proven_sender(_authentication(author, result, spf)) == sender


def test_without_any_look_nothing_is_proved() -> None:
    assert proven_sender(None) is None
    assert proven_sender(proof()) == "receiver.example"


def test_a_report_touches_the_days_it_tells_of() -> None:
    whole = a_report(20_000, row())
    assert days_of(whole) == (20_000, 20_000)
    to_midnight = a_report(20_000, row(), end=whole.begin + timedelta(days=1))
    assert days_of(to_midnight) == (20_000, 20_000)
    shifted = a_report(
        20_000,
        row(),
        begin=whole.begin + timedelta(hours=8),
        end=whole.begin + timedelta(hours=32),
    )
    assert days_of(shifted) == (20_000, 20_001)
    at_once = a_report(20_000, row(), end=whole.begin)
    assert days_of(at_once) == (20_000, 20_000)
    assert day_text(20_000) == "2024-10-04"
    of_old = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    assert not is_timely(a_report(0, row(), begin=of_old, end=of_old), 20_000)


@pytest.mark.parametrize(
    ("today", "counts"),
    [
        (20_000, True),
        (19_999, True),
        (19_998, False),
        (20_000 + OLDEST, True),
        (20_001 + OLDEST, False),
    ],
)
def test_a_report_of_another_time_does_not_count(today: int, counts: bool) -> None:
    assert is_timely(a_report(20_000, row()), today) is counts


def test_a_report_of_too_many_days_does_not_count() -> None:
    whole = a_report(20_000, row())
    month = a_report(20_000, row(), end=whole.begin + timedelta(days=32))
    longer = a_report(20_000, row(), end=whole.begin + timedelta(days=32, seconds=2))
    assert (is_timely(month, 20_032), is_timely(longer, 20_032)) == (True, False)


def test_incidents_need_a_row_for_each_figure() -> None:
    report = a_report(20_000, row(), row())
    with pytest.raises(ValueError, match="zip"):
        incidents(report, joined(report, NAME, OURS)[:1], OURS.authors)
    assert Counter(one.whose for one in joined(report, NAME, OURS)) == {Whose.OURS: 2}
