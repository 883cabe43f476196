"""The DMARC record that is advised: kept, merged, first, or one of several."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.identity.dmarc import parse_record
from soboo_mta.identity.dmarc_merge import (
    dmarc_advice,
    first_record,
    merged_dmarc,
    plain_advice,
    report_uri,
)
from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError

OURS = parse_mailbox("dmarc@esp.example")
URI = "mailto:dmarc@esp.example"
NAME = Domain("customer.com")
OWN = DnsName("_dmarc.customer.com")


@pytest.mark.parametrize(
    "tag",
    [
        "p=reject",
        "p=quarantine; sp=none",
        "p=none; sp=reject; np=quarantine",
        "p=reject; adkim=s; aspf=s",
        "p=reject; adkim=r; aspf=r",
        "p=reject; fo=1:d:s",
        "p=reject; ruf=mailto:f@customer.com!10m",
        "p=reject; t=y",
        "p=reject; t=n",
        "p=reject; psd=n",
        "p=reject; psd=u",
        "p=reject; psd=y",
        "p=reject; pct=50; rf=afrf; ri=3600",  # withdrawn by RFC 9989
        "p=reject; x-unknown=a b c; another = 1",
        "P = Reject ;ADKIM=S",
    ],
)
def test_every_tag_stays_as_it_is_and_rua_comes_last(tag: str) -> None:
    text = f"v=DMARC1; {tag}"
    assert merged_dmarc(text, OURS) == f"{text}; rua={URI}"
    assert merged_dmarc(text, None) == text


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        (
            "v=DMARC1; rua=mailto:a@customer.com; p=reject;",
            f"v=DMARC1; rua=mailto:a@customer.com,{URI}; p=reject;",
        ),
        (
            "v=DMARC1;p=none;rua=mailto:a@x.y , mailto:b@x.y!5m ;adkim=s",
            f"v=DMARC1;p=none;rua=mailto:a@x.y , mailto:b@x.y!5m,{URI} ;adkim=s",
        ),
        ("v=DMARC1; p=none; rua=", f"v=DMARC1; p=none; rua={URI}"),
        (
            "v=DMARC1; p=none; rua=mailto:a@x.y,",
            f"v=DMARC1; p=none; rua=mailto:a@x.y,{URI}",
        ),
        ("v=DMARC1; p=none ; ", f"v=DMARC1; p=none; rua={URI}"),
        ("v=DMARC1; RUA=mailto:a@x.y", f"v=DMARC1; RUA=mailto:a@x.y,{URI}"),
    ],
)
def test_our_address_is_added_behind_those_that_are_there(
    text: str, merged: str
) -> None:
    assert merged_dmarc(text, OURS) == merged


@pytest.mark.parametrize(
    "listed",
    [
        URI,
        URI.upper().replace("MAILTO", "mailto"),
        f"{URI}!10m",
        f"mailto:a@x.y, {URI}",
    ],
)
def test_an_address_that_is_there_is_not_added_again(listed: str) -> None:
    text = f"v=DMARC1; p=none; rua={listed}"
    assert merged_dmarc(text, OURS) == text


@pytest.mark.parametrize(
    "text", ["v=DMARC1", "v=DMARC1; p=rejct", "v=DMARC1; p=none; sp=x", "v=spf1 -all"]
)
def test_a_record_that_receivers_do_not_apply_is_not_made_to_apply(text: str) -> None:
    for reports in (OURS, None):
        with pytest.raises(FormatError, match="do not apply"):
            merged_dmarc(text, reports)


_tag = st.one_of(
    st.sampled_from(
        ["p=none", "p=reject", "sp=none", "np=reject", "adkim=s", "aspf=s", "psd=n"]
    ),
    st.sampled_from(["t=y", "rua=mailto:a@b.c", "rua=", " rua = ", "x", "", " ", "=;"]),
    st.text(alphabet="pruasdnv=,! ;ty", max_size=12),
)


@given(st.lists(_tag, max_size=8))
def test_merging_changes_nothing_that_a_receiver_reads_and_is_done_once(
    tags: list[str],
) -> None:
    text = "v=DMARC1;" + ";".join(tags)
    if parse_record(text) is None:
        with pytest.raises(FormatError):
            merged_dmarc(text, OURS)
        return
    merged = merged_dmarc(text, OURS)
    assert parse_record(merged) == parse_record(text)
    assert URI in merged
    assert merged_dmarc(merged, OURS) == merged


def test_an_address_with_signs_of_a_list_is_written_in_per_cent() -> None:
    assert report_uri(Mailbox("a!b", Domain("x.y"))) == "mailto:a%21b@x.y"


# ---- advice


def test_a_domain_without_a_record_gets_a_first_one_without_psd() -> None:
    advice = dmarc_advice(NAME, {}, OURS)
    assert advice.record.value == f"v=DMARC1; p=none; rua={URI}"
    assert (advice.record.owner, advice.current) == (OWN, "")
    assert dmarc_advice(NAME, {}).record.value == first_record() == "v=DMARC1; p=none"
    assert advice.is_change


def test_a_record_is_kept_where_our_reports_are_not_wanted() -> None:
    text = "v=DMARC1; p=reject; rua=mailto:a@customer.com"
    advice = dmarc_advice(NAME, {OWN: ("other", text)}, OURS)
    assert advice.record.value == text
    assert advice.record.note == "it is there: keep it"
    assert not advice.is_change


def test_a_merged_record_says_what_changes_and_counts_the_addresses() -> None:
    text = "v=DMARC1; p=reject; rua=mailto:a@customer.com,mailto:b@customer.com"
    advice = dmarc_advice(NAME, {OWN: (text,)}, OURS, merge=True)
    assert advice.record.value == f"{text},{URI}"
    assert "all else stays" in advice.record.note
    assert "first two addresses" in advice.record.note


def test_of_several_records_the_strictest_stays_and_the_others_are_named() -> None:
    weak, strong = "v=DMARC1; p=none", "v=DMARC1; p=reject; sp=none"
    weaker = "v=DMARC1; p=quarantine"
    advice = dmarc_advice(NAME, {OWN: (weak, strong, weaker, "other")})
    assert advice.record.value == strong
    assert advice.remove == (weak, weaker)
    assert f'remove "{weak}", "{weaker}"' in advice.record.note


def test_the_same_record_twice_is_removed_once() -> None:
    text = "v=DMARC1; p=none"
    assert dmarc_advice(NAME, {OWN: (text, text)}).remove == (text,)


def test_a_record_that_is_not_applied_stays_with_what_to_mend() -> None:
    advice = dmarc_advice(NAME, {OWN: ("v=DMARC1; p=rejct",)}, OURS, merge=True)
    assert advice.record.value == "v=DMARC1; p=rejct"
    assert "do not apply" in advice.record.note


def test_a_record_with_control_characters_is_shown_without_them_and_not_merged() -> (
    None
):
    text = "v=DMARC1; p=none; x=\x1b[2J\n\xe9"
    with pytest.raises(FormatError, match="no printable ASCII"):
        merged_dmarc(text, OURS)
    assert dmarc_advice(NAME, {OWN: (text,)}).record.value == (
        "v=DMARC1; p=none; x=?[2J??"
    )


def test_a_record_above_applies_and_no_weaker_one_is_put_below_it() -> None:
    text = "v=DMARC1; p=reject"
    below = Domain("news.customer.com")
    advice = dmarc_advice(below, {OWN: (text,)})
    assert (advice.record.owner, advice.record.value) == (OWN, text)
    merged = dmarc_advice(below, {OWN: (text,)}, OURS, merge=True)
    assert "all mail under that name" in merged.record.note


def test_a_record_between_the_domain_and_its_organisation_does_not_count() -> None:
    texts = {
        DnsName("_dmarc.b.customer.com"): ("v=DMARC1; p=none",),
        OWN: ("v=DMARC1; p=reject",),
    }
    assert dmarc_advice(Domain("a.b.customer.com"), texts).record.owner == OWN


def test_a_public_suffix_is_nobodys_to_change() -> None:
    suffix = DnsName("_dmarc.bank")
    advice = dmarc_advice(
        Domain("customer.bank"),
        {suffix: ("v=DMARC1; p=reject; psd=y",)},
        OURS,
        merge=True,
    )
    assert not advice.is_change


def test_without_an_answer_the_plain_record_says_that_nothing_is_known() -> None:
    record = plain_advice(NAME, "SERVFAIL")
    assert record.value == "v=DMARC1; p=none"
    assert "SERVFAIL" in record.note
    assert "keep a DMARC record that is there" in record.note
