"""Cases of two other implementations: mail-auth's of the tree walk, mox's of alignment by the
public suffix list. The questions and the answers are theirs.
"""

import json
from pathlib import Path
from typing import Any

from soboo_mta.identity.alignment import aligns
from soboo_mta.identity.dmarc import (
    SuffixList,
    parse_record,
    view_by_suffix_list,
    view_by_walk,
)
from soboo_mta.mail.domain import DnsName, Domain

_SUFFIXES = SuffixList()


def _cases(corpora: Path, name: str) -> Any:
    return json.loads((corpora / "dmarc" / name).read_text(encoding="utf-8"))


def _texts(dns: dict[str, str]) -> dict[DnsName, tuple[str, ...]]:
    return {DnsName(name): (text,) for name, text in dns.items() if "_dmarc" in name}


def _exists(name: str, dns: dict[str, str]) -> bool:
    """Whether some name of the case is `name`, is below it, or is its record."""
    owners = [owner.removesuffix(" A").removeprefix("_dmarc.") for owner in dns]
    return any(owner == name or owner.endswith("." + name) for owner in owners)


def test_the_tree_walk_finds_what_mail_auth_finds(corpora: Path) -> None:
    cases = _cases(corpora, "stalwart_dmarc_cases.json")["policy_discovery"]
    assert len(cases) >= 8
    for case in cases:
        author = Domain(case["from"].partition("@")[2])
        other = Domain(case.get("mailfrom", author))
        view = view_by_walk(
            author, (other,), _texts(case["dns"]), exists=_exists(author, case["dns"])
        )
        if "policy" in case:
            assert (view.policy if view.has_record else None) == case["policy"], case
        if "spf_aligned" in case:
            found = aligns(author, other, view, view.spf)
            assert found is case["spf_aligned"], case


def test_identifiers_align_as_mail_auth_has_it(corpora: Path) -> None:
    cases = _cases(corpora, "stalwart_dmarc_cases.json")["alignment"]
    for case in cases:
        if (case["spf"], case["dkim"]) != ("pass", "pass"):
            continue
        author, spf, dkim = (Domain(case[key]) for key in ("from", "mailfrom", "d"))
        texts = {DnsName(f"_dmarc.{author}"): (case["record"],)}
        for view in (
            view_by_walk(author, (spf, dkim), texts),
            view_by_suffix_list(author, (spf, dkim), texts, _SUFFIXES),
        ):
            found = (
                aligns(author, spf, view, view.spf),
                aligns(author, dkim, view, view.dkim),
            )
            wanted = case["dmarc_spf"] == "pass", case["dmarc_dkim"] == "pass"
            assert found == wanted, case


def test_identifiers_align_as_mox_has_it(corpora: Path) -> None:
    held = _cases(corpora, "mox_dmarc_cases.json")
    texts = _texts(held["dns"])
    compared = 0
    for case in held["verify"]:
        if case["status"] not in ("pass", "fail"):
            continue  # DNS errors and records that mox refuses whole
        author = Domain(case["from"])
        (result, spf), keys = case["spf"], case["dkim"]
        names = [Domain(d) for _, d in keys] + ([Domain(spf)] if spf else [])
        view = view_by_suffix_list(author, names, texts, _SUFFIXES)
        by_spf = result == "pass" and aligns(author, Domain(spf), view, view.spf)
        by_dkim = any(
            result == "pass" and aligns(author, Domain(d), view, view.dkim)
            for result, d in keys
        )
        assert by_spf is case.get("aligned_spf", False) or not case["spf"][1], case
        assert by_dkim is case.get("aligned_dkim", False), case
        assert (by_spf or by_dkim) is (case["status"] == "pass"), case
        compared += 1
    assert compared >= 9


def test_records_that_mox_takes_are_read_alike(corpora: Path) -> None:
    for case in _cases(corpora, "mox_dmarc_cases.json")["valid_records"]:
        record = parse_record(case["txt"])
        assert record is not None, case["txt"]
        assert record.policy == case["p"], case["txt"]
