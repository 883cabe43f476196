"""RFC 9989 rule by rule: the walk, discovery, alignment, and the examples of its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.identity.alignment import aligned_by, aligns, verdict
from soboo_mta.identity.dmarc import (
    SuffixList,
    names_to_ask,
    names_to_ask_by_suffix,
    organizational_domain,
    parse_record,
    report_hosts,
    view_by_suffix_list,
    view_by_walk,
)
from soboo_mta.identity.state import Verdict
from soboo_mta.mail.domain import DnsName, Domain

SUFFIXES = SuffixList()
Zone = dict[str, str | tuple[str, ...]]
_NONE = "v=DMARC1; p=none"
_PSD_Y = "v=DMARC1; p=reject; psd=y"
_PSD_N = "v=DMARC1; p=none; psd=n"


def _texts(zone: Zone) -> dict[DnsName, tuple[str, ...]]:
    return {
        DnsName(f"_dmarc.{name}"): (texts,) if isinstance(texts, str) else texts
        for name, texts in zone.items()
    }


# ---- §4.10: the walk


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("example.com", ["example.com", "com"]),
        ("a.mail.example.com", ["a.mail.example.com", "mail.example.com", "example.com", "com"]),
        (
            "b.c.d.e.f.example.com",
            ["b.c.d.e.f.example.com", "c.d.e.f.example.com", "d.e.f.example.com",
             "e.f.example.com", "f.example.com", "example.com", "com"],
        ),
        (
            "a.b.c.d.e.f.example.com",
            ["a.b.c.d.e.f.example.com", "b.c.d.e.f.example.com", "c.d.e.f.example.com",
             "d.e.f.example.com", "e.f.example.com", "f.example.com", "example.com", "com"],
        ),
        (
            "x.a.b.c.d.e.f.example.com",
            ["x.a.b.c.d.e.f.example.com", "b.c.d.e.f.example.com", "c.d.e.f.example.com",
             "d.e.f.example.com", "e.f.example.com", "f.example.com", "example.com", "com"],
        ),
        (  # the example of the text
            "a.b.c.d.e.f.g.h.i.j.mail.example.com",
            ["a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com",
             "h.i.j.mail.example.com", "i.j.mail.example.com", "j.mail.example.com",
             "mail.example.com", "example.com", "com"],
        ),
    ],
)  # fmt: skip
def test_the_walk_asks_these_names_in_this_order(name: str, asked: list[str]) -> None:
    assert list(names_to_ask(DnsName(name))) == [f"_dmarc.{one}" for one in asked]


# ---- §4.10.2: the Organizational Domain

_ORGANIZATIONAL: list[tuple[str, Zone, str]] = [
    # the three examples of the text
    ("a.mail.example.com", {"mail.example.com": _NONE, "example.com": _NONE}, "example.com"),
    ("a.mail.example.com", {"mail.example.com": _PSD_N, "example.com": _NONE}, "mail.example.com"),
    ("a.mail.example.com", {"com": _PSD_Y}, "example.com"),
    # and the one inside rule 2
    ("mail.example.com", {"example.com": _PSD_Y}, "mail.example.com"),
    # rule 1: psd=n, also where the walk starts, and nothing above it counts
    ("mail.example.com", {"mail.example.com": _PSD_N, "com": _PSD_Y}, "mail.example.com"),
    # rule 2: not for the name where the walk starts
    ("example.com", {"example.com": _PSD_Y}, "example.com"),
    ("gov.example", {"gov.example": _PSD_Y, "example": _PSD_Y}, "gov.example"),
    # rule 2 against rule 3: what is below a suffix does not make it longer
    ("a.b.bank.example", {"a.b.bank.example": _NONE, "bank.example": _PSD_Y}, "b.bank.example"),
    ("a.b.bank.example", {"b.bank.example": _NONE, "bank.example": _PSD_Y, "example": _NONE}, "b.bank.example"),
    # rule 3: the fewest labels, up to the top
    ("a.b.c.example.com", {"c.example.com": _NONE, "com": _NONE}, "com"),
    ("a.b.c.example.com", {"a.b.c.example.com": _NONE}, "a.b.c.example.com"),
    # psd=u is the default, and a value that is none of them too
    ("a.example.com", {"a.example.com": "v=DMARC1; p=none; psd=u", "example.com": _NONE}, "example.com"),
    ("a.example.com", {"a.example.com": "v=DMARC1; p=none; psd=maybe", "example.com": _NONE}, "example.com"),
    # nothing found: the name itself
    ("a.example.com", {}, "a.example.com"),
    # several records at one name: none
    ("a.example.com", {"a.example.com": _NONE, "example.com": (_NONE, _PSD_N)}, "a.example.com"),
    ("a.example.com", {"example.com": (_NONE, "site-verification=x")}, "example.com"),
    # more than eight labels: what lies between is never seen
    ("a.b.c.d.e.f.g.h.example.com", {"b.c.d.e.f.g.h.example.com": _PSD_N, "example.com": _NONE}, "example.com"),
    ("a.b.c.d.e.f.g.h.example.com", {"d.e.f.g.h.example.com": _PSD_N, "example.com": _NONE}, "d.e.f.g.h.example.com"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "zone", "expected"), _ORGANIZATIONAL)
def test_the_organizational_domain_is_chosen_by_its_three_rules(
    name: str, zone: Zone, expected: str
) -> None:
    assert organizational_domain(Domain(name), _texts(zone)) == expected


# ---- §4.10.1: which policy

_POLICIES: list[tuple[str, bool, Zone, str | None]] = [
    # Author Domain, then Organizational Domain, then public suffix
    ("a.example.com", True, {"a.example.com": "v=DMARC1; p=quarantine", "example.com": _NONE}, "quarantine"),
    ("a.example.com", True, {"example.com": "v=DMARC1; p=reject"}, "reject"),
    ("a.example.com", True, {"com": _PSD_Y}, "reject"),
    ("a.example.com", True, {"example.com": _NONE, "com": _PSD_Y}, "none"),
    ("a.example.com", True, {}, None),
    # what lies between the author and its organization is passed over
    ("a.b.example.com", True, {"b.example.com": "v=DMARC1; p=reject", "example.com": _NONE}, "none"),
    # sp and np
    ("example.com", True, {"example.com": "v=DMARC1; p=reject; sp=quarantine; np=none"}, "reject"),
    ("sub.example.com", True, {"example.com": "v=DMARC1; p=reject; sp=quarantine; np=none"}, "quarantine"),
    ("ghost.example.com", False, {"example.com": "v=DMARC1; p=reject; sp=quarantine; np=none"}, "none"),
    ("ghost.example.com", False, {"example.com": "v=DMARC1; p=reject; sp=quarantine"}, "quarantine"),
    ("ghost.example.com", False, {"example.com": "v=DMARC1; p=reject"}, "reject"),
    ("ghost.example.com", False, {"ghost.example.com": "v=DMARC1; p=reject; np=none"}, "reject"),
    # t=y: one level below
    ("example.com", True, {"example.com": "v=DMARC1; p=reject; t=y"}, "quarantine"),
    ("example.com", True, {"example.com": "v=DMARC1; p=quarantine; t=y"}, "none"),
    ("example.com", True, {"example.com": "v=DMARC1; p=none; t=y"}, "none"),
    ("sub.example.com", True, {"example.com": "v=DMARC1; p=none; sp=reject; t=y"}, "quarantine"),
    ("example.com", True, {"example.com": "v=DMARC1; p=reject; t=n"}, "reject"),
    ("example.com", True, {"example.com": "v=DMARC1; p=reject; t=perhaps"}, "reject"),
    # no valid p, sp or np: p=none where somebody wants reports, else nothing applies
    ("example.com", True, {"example.com": "v=DMARC1; rua=mailto:d@example.org"}, "none"),
    ("example.com", True, {"example.com": "v=DMARC1; p=all; rua=mailto:d@example.org"}, "none"),
    ("sub.example.com", True, {"example.com": "v=DMARC1; p=reject; sp=all; rua=mailto:d@example.org"}, "none"),
    ("example.com", True, {"example.com": "v=DMARC1; p=reject; np=all; rua=mailto:d@example.org"}, "none"),
    ("example.com", True, {"example.com": "v=DMARC1"}, None),
    ("example.com", True, {"example.com": "v=DMARC1; p=all"}, None),
    ("example.com", True, {"example.com": "v=DMARC1; p=reject; sp=all; rua=https://example.org"}, None),
    # tags in any order, unknown and withdrawn ones ignored
    ("example.com", True, {"example.com": "v=DMARC1; x-new=1; pct=0; rf=afrf; ri=60; p=reject"}, "reject"),
    ("example.com", True, {"example.com": "v=DMARC1; adkim=x; p=reject; junk; =; ;"}, "reject"),
    ("example.com", True, {"example.com": "p=reject; v=DMARC1"}, None),
    ("example.com", True, {"example.com": "v=dmarc1; p=reject"}, None),
    ("example.com", True, {"example.com": "V = DMARC1; P=Reject"}, "reject"),
]  # fmt: skip


@pytest.mark.parametrize(("author", "exists", "zone", "policy"), _POLICIES)
def test_the_policy_in_force(
    author: str, exists: bool, zone: Zone, policy: str | None
) -> None:
    view = view_by_walk(Domain(author), (), _texts(zone), exists=exists)

    assert view.has_record is (policy is not None)
    assert view.policy == (policy or "none")


# ---- appendix B.1, and alignment by the rules above

_EXAMPLE: Zone = {"example.com": _NONE}
_STRICT: Zone = {"example.com": "v=DMARC1; p=none; adkim=s; aspf=s"}
_BANK: Zone = {"bank.example": _PSD_Y, "giant.bank.example": "v=DMARC1; p=reject"}

_ALIGNED: list[tuple[str, str, Zone, bool]] = [
    # B.1.1 and B.1.2: identical, relaxed, none
    ("example.com", "example.com", _EXAMPLE, True),
    ("example.com", "child.example.com", _EXAMPLE, True),
    ("child.example.com", "example.com", _EXAMPLE, True),
    ("child.example.com", "example.net", _EXAMPLE, False),
    # two children of one organization
    ("a.example.com", "b.example.com", _EXAMPLE, True),
    # strict: identical alone
    ("example.com", "example.com", _STRICT, True),
    ("example.com", "child.example.com", _STRICT, False),
    # the identical name without a record of its own
    ("child.example.com", "child.example.com", _STRICT, True),
    # psd=n between them
    ("example.com", "mail.example.com", {**_EXAMPLE, "mail.example.com": _PSD_N}, False),
    ("a.mail.example.com", "b.mail.example.com", {"mail.example.com": _PSD_N}, True),
    # a public suffix above them
    ("giant.bank.example", "mega.bank.example", _BANK, False),
    ("giant.bank.example", "a.giant.bank.example", _BANK, True),
    ("giant.bank.example", "bank.example", _BANK, False),
    # the evil sibling of the security considerations, where the operator said psd=n
    ("evil.example.com", "mail.example.com", {**_EXAMPLE, "mail.example.com": _PSD_N}, False),
    # a record of the child's own changes nothing
    ("example.com", "mail.example.com", {**_EXAMPLE, "mail.example.com": _NONE}, True),
    # no record at the parent: the child's organization is the child
    ("example.com", "mail.example.com", {"mail.example.com": _NONE}, False),
    # a name that only looks alike
    ("example.com", "notexample.com", _EXAMPLE, False),
]  # fmt: skip


@pytest.mark.parametrize(("author", "other", "zone", "expected"), _ALIGNED)
def test_identifiers_align_by_the_walk(
    author: str, other: str, zone: Zone, expected: bool
) -> None:
    view = view_by_walk(Domain(author), (Domain(other),), _texts(zone))

    assert aligns(Domain(author), Domain(other), view, view.spf) is expected
    assert aligns(Domain(author), Domain(other), view, view.dkim) is expected
    by_both = aligned_by(
        Domain(author), view, spf_domain=Domain(other), dkim_domains=(Domain(other),)
    )
    assert bool(by_both) is expected


@pytest.mark.parametrize("record", ["v=DMARC1; psd=n", "v=DMARC1; p=all; psd=n"])
def test_a_record_that_receivers_may_count_or_not_aligns_nothing(record: str) -> None:
    """It has no valid policy, and says psd=n: whoever counts it finds another owner."""
    author, signs = Domain("example.com"), Domain("em.example.com")
    texts = _texts({"example.com": _NONE, "em.example.com": record})

    assert (
        verdict(
            author,
            walk=view_by_walk(author, (signs,), texts),
            suffix_list=view_by_suffix_list(author, (signs,), texts, SUFFIXES),
            spf_domain=None,
            dkim_domains=(signs,),
        )
        is Verdict.FAIL
    )


# ---- rua


@pytest.mark.parametrize(
    ("rua", "hosts"),
    [
        ("mailto:d@example.com", ["example.com"]),
        ("mailto:d@Example.COM!10m , mailto:e@r.example", ["example.com", "r.example"]),
        ("mailto:d@r.example,mailto:e@r.example", ["r.example"]),
        ("https://r.example/in,mailto:nobody,mailto:d@", []),
        ("", []),
    ],
)
def test_report_addresses_are_read_from_rua(rua: str, hosts: list[str]) -> None:
    assert list(report_hosts(f"v=DMARC1; p=none; rua={rua}")) == hosts


# ---- an oracle: the same rules written another way

_LABELS = st.lists(st.sampled_from("abc"), max_size=9)
_RECORDS = st.sampled_from([None, _NONE, _PSD_Y, _PSD_N, (_NONE, _NONE)])


def _by_the_text(name: str, zone: Zone) -> str:
    """The steps of §4.10 and §4.10.2 one after the other, in their own order."""
    labels = name.split(".")
    targets = [name]
    shorter = labels[1:] if len(labels) < 8 else labels[-7:]
    targets += [".".join(shorter[n:]) for n in range(len(shorter))]
    kept = []
    for target in targets:
        texts = zone.get(target, ())
        texts = (texts,) if isinstance(texts, str) else texts
        if len(texts) != 1:
            continue
        kept.append((target, texts[0]))
        if "psd=u" not in texts[0] and "psd=" in texts[0]:
            break
    for target, text in kept:
        if text.endswith("psd=n"):
            return target
        if text.endswith("psd=y") and target != name:
            return name.split("." + target)[0].split(".")[-1] + "." + target
    return min((target for target, _ in kept), key=lambda t: t.count("."), default=name)


@given(_LABELS, st.lists(_RECORDS, min_size=12, max_size=12))
def test_any_zone_gives_what_the_text_says(
    labels: list[str], records: list[object]
) -> None:
    name = ".".join(
        [f"{label}{n}" for n, label in enumerate(labels)] + ["example", "com"]
    )
    parts = name.split(".")
    zone = {
        ".".join(parts[n:]): record
        for n, record in zip(range(len(parts)), records, strict=False)
        if record is not None
    }

    found = organizational_domain(Domain(name), _texts(zone))  # type: ignore[arg-type]

    assert found == _by_the_text(name, zone)  # type: ignore[arg-type]


@given(st.text("v=DMARC1;psnoty rjecqui\t", max_size=60))
def test_a_record_is_applied_only_with_a_policy_or_somebody_to_report_to(
    text: str,
) -> None:
    record = parse_record(f"v=DMARC1; {text}")

    assert record is None or record.policy in ("none", "quarantine", "reject")
    if record is None:
        assert not report_hosts(f"v=DMARC1; {text}")


# ---- the algorithm before: the public suffix list (RFC 7489 §3.2)


@pytest.mark.parametrize(
    ("author", "other", "zone", "expected"),
    [
        ("example.com", "child.example.com", _EXAMPLE, True),
        ("a.example.co.uk", "b.example.co.uk", {}, True),
        ("example.co.uk", "other.co.uk", {}, False),
        (
            "example.com",
            "mail.example.com",
            {**_EXAMPLE, "mail.example.com": _PSD_N},
            True,
        ),
        ("example.com", "mail.example.com", _STRICT, False),
    ],
)
def test_identifiers_align_by_the_suffix_list(
    author: str, other: str, zone: Zone, expected: bool
) -> None:
    view = view_by_suffix_list(Domain(author), (Domain(other),), _texts(zone), SUFFIXES)

    assert aligns(Domain(author), Domain(other), view, view.dkim) is expected


def test_receivers_of_the_suffix_list_know_neither_np_nor_t() -> None:
    author = Domain("ghost.example.com")
    zone: Zone = {"example.com": "v=DMARC1; p=reject; sp=quarantine; np=none; t=y"}
    assert names_to_ask_by_suffix(author, SUFFIXES)[1] == "_dmarc.example.com"

    view = view_by_suffix_list(author, (), _texts(zone), SUFFIXES)

    assert view.policy == "quarantine"
