"""Mail::DMARC, which shares no code with us, aligns as our view by the public suffix list:
every From, SPF and DKIM identity of two organizations under every kind of record.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from soboo_mta.cli.trial.zones import Zones
from soboo_mta.identity.alignment import aligned_by
from soboo_mta.identity.dmarc import SuffixList, view_by_suffix_list
from soboo_mta.lab.dns.server import NameServer
from soboo_mta.lab.dns.zones import ZoneDirectory
from soboo_mta.mail.domain import DnsName, Domain
from tests.interop.running import run

_SUFFIXES = SuffixList()
_PROGRAM = Path(__file__).parent / "dmarc.pl"
_AUTHORS = tuple(
    map(Domain, ("customer.com", "em.customer.com", "shop.co.uk", "a.b.shop.co.uk"))
)
_OTHERS = (
    *_AUTHORS,
    Domain("bounce.em.customer.com"),
    Domain("b.shop.co.uk"),
    Domain("other.co.uk"),
    Domain("notcustomer.com"),
    Domain("esp.org"),
)
_RECORDS = (
    "v=DMARC1; p=none",
    "v=DMARC1; p=reject; adkim=s",
    "v=DMARC1; p=reject; aspf=s",
    "v=DMARC1; p=quarantine; sp=none; adkim=s; aspf=s",
    "v=DMARC1; aspf=r; x-new=1; p=reject; psd=n; t=y; np=none",
)
_Question = dict[str, str]


def _questions() -> list[_Question]:
    return [
        {"from": author, "spf": spf, "dkim": dkim}
        for author in _AUTHORS
        for spf, dkim in itertools.product(("", *_OTHERS), repeat=2)
        if (spf, dkim) != ("", "")
    ]


def _zones(record: str) -> dict[str, str]:
    """The record at both organizations, and one of its own at em.customer.com."""
    return {
        "customer.com": record,
        "shop.co.uk": record,
        "em.customer.com": "v=DMARC1; p=none; adkim=s",
    }


def _ours(question: _Question, records: dict[str, str]) -> dict[str, object]:
    texts = {DnsName(f"_dmarc.{name}"): (text,) for name, text in records.items()}
    author, spf, dkim = (question[key] for key in ("from", "spf", "dkim"))
    others = [Domain(name) for name in (spf, dkim) if name]
    view = view_by_suffix_list(Domain(author), others, texts, _SUFFIXES)
    found = aligned_by(
        Domain(author),
        view,
        spf_domain=Domain(spf) if spf else None,
        dkim_domains=(Domain(dkim),) if dkim else (),
    )
    return {
        "result": "pass" if found else "fail",
        "spf": any(one.startswith("SPF") for one in found),
        "dkim": any(one.startswith("DKIM") for one in found),
    }


async def _theirs(questions: Sequence[_Question], port: int) -> list[dict[str, object]]:
    asked = "".join(json.dumps(one) + "\n" for one in questions)
    ended = await run("perl", _PROGRAM, str(port), stdin=asked)
    assert ended.code == 0, ended.text
    return [json.loads(line) for line in ended.out.splitlines()]


@pytest.mark.parametrize("record", _RECORDS)
async def test_alignment_is_what_mail_dmarc_finds(record: str, tmp_path: Path) -> None:
    zones = Zones(directory=tmp_path)
    zones.write_lab()
    records = _zones(record)
    for name in ("customer.com", "shop.co.uk"):
        lines = ["@ A 203.0.113.1", "* A 203.0.113.1"]
        lines += [
            f'_dmarc.{owner}. TXT "{text}"'
            for owner, text in records.items()
            if owner == name or owner.endswith("." + name)
        ]
        zones.write(name, lines)
    server = NameServer(ZoneDirectory(tmp_path), address="127.0.0.1", port=0)
    await server.start()
    questions = _questions()
    try:
        theirs = await _theirs(questions, server.port)
    finally:
        await server.close()

    assert len(theirs) == len(questions) == 4 * (10 * 10 - 1)
    differing = [
        (question, ours, other)
        for question, other in zip(questions, theirs, strict=True)
        if (ours := _ours(question, records)) != other
    ]
    assert differing == []
    assert {one["result"] for one in theirs} == {"pass", "fail"}
