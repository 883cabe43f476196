"""Who sent a return: SPF, DKIM and DMARC together, and what DNS's silence makes of them."""

import asyncio
import re
from datetime import timedelta
from ipaddress import ip_address

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.authentication import Authentication, Identity, Result, Rule
from soboo_mta.formats.keys import Algorithm, dkim_txt
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.mail.address import NULL_REVERSE_PATH, ReversePath, parse_reverse_path
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.ports import Answer, RecordType
from soboo_mta.returns.authentication import (
    AuthenticationOptions,
    Came,
    authenticated,
)
from tests.examples import examples
from tests.fakes.dns import FakeResolver
from tests.unit.formats.dkimpy_reference import (
    AT,
    ED25519,
    ED25519_KEY,
    RSA,
    RSA_KEY,
    Names,
    signed_by_us,
)

SUFFIXES = SuffixList()
US = Domain("mx.esp.example")
CLIENT = ip_address("192.0.2.1")
MESSAGE = (
    b"From: Mail Delivery System <MAILER-DAEMON@mx.provider.com>\r\n"
    b"To: b@esp.example\r\nSubject: Undelivered\r\n\r\nhello\r\n"
)
PROVIDER = Names(Domain("provider.com"), DnsName("s1"))


def zone() -> FakeResolver:
    found = FakeResolver()
    found.add("mx.provider.com", "TXT", "v=spf1 ip4:192.0.2.1 -all")
    found.add("provider.com", "TXT", "v=spf1 ip4:192.0.2.0/24 -all")
    found.add("_dmarc.provider.com", "TXT", "v=DMARC1; p=reject; sp=quarantine")
    found.add("s1._domainkey.provider.com", "TXT", dkim_txt(RSA.p, Algorithm.RSA))
    found.add("s2._domainkey.other.com", "TXT", dkim_txt(ED25519.p, Algorithm.ED25519))
    return found


def came(path: ReversePath = NULL_REVERSE_PATH, helo: str = "mx.provider.com") -> Came:
    return Came(client=CLIENT, helo=helo, reverse_path=path)


async def check(
    content: bytes,
    how: Came | None = None,
    resolver: FakeResolver | None = None,
    seconds: float = 5,
) -> Authentication:
    with time_machine.travel(AT, tick=True):
        return await authenticated(
            content,
            how or came(),
            resolver or zone(),
            suffixes=SUFFIXES,
            options=AuthenticationOptions(lookups_within=timedelta(seconds=seconds)),
        )


def signed(content: bytes = MESSAGE) -> bytes:
    return signed_by_us(content, RSA_KEY, PROVIDER) + content


async def test_an_authentic_return_passes_all_three() -> None:
    found = await check(signed())
    assert (found.spf.result, found.spf.identity) == (Result.PASS, Identity.HELO)
    assert [one.result for one in found.dkim] == [Result.PASS]
    assert (found.dmarc.result, found.dmarc.author) == (Result.PASS, "mx.provider.com")
    assert (found.dmarc.policy, found.dmarc.found_at) == ("reject", "provider.com")
    assert found.dmarc.aligned_by == (Rule.WALK, Rule.SUFFIX_LIST)
    assert found.authentic_domains == {"mx.provider.com", "provider.com"}
    field = re.sub(
        r'header\.b="?[A-Za-z0-9/+]{8}"?;', "header.b=...;", found.header(US)
    )
    assert field == (
        "Authentication-Results: mx.esp.example;\r\n"
        " spf=pass smtp.helo=mx.provider.com;\r\n"
        " dkim=pass header.d=provider.com header.s=s1 header.a=rsa-sha256\r\n"
        " header.b=...;\r\n"
        " dmarc=pass (aligned by tree walk, aligned by suffix list)\r\n"
        " header.from=mx.provider.com polrec.p=reject polrec.domain=provider.com\r\n"
    )


async def test_a_forged_return_fails_all_three() -> None:
    forger = Came(
        client=ip_address("203.0.113.9"),
        helo="mx.provider.com",
        reverse_path=NULL_REVERSE_PATH,
    )
    found = await check(signed().replace(b"hello", b"hullo"), forger)
    assert found.spf.result is Result.FAIL
    assert [one.result for one in found.dkim] == [Result.FAIL]
    assert (found.dmarc.result, found.dmarc.policy) == (Result.FAIL, "reject")
    assert found.authentic_domains == frozenset()


async def test_somebody_elses_proof_is_no_proof_for_the_author() -> None:
    other = signed_by_us(MESSAGE, ED25519_KEY, Names("other.com", "s2"))
    found = await check(other + MESSAGE, came(helo="elsewhere.example"))
    assert [one.result for one in found.dkim] == [Result.PASS]
    assert (found.dmarc.result, found.dmarc.aligned_by) == (Result.FAIL, ())
    assert found.authentic_domains == {"other.com"}


async def test_spf_is_of_the_reverse_path_where_there_is_one() -> None:
    found = await check(MESSAGE, came(parse_reverse_path("bounces@provider.com")))
    assert found.spf.identity is Identity.MAILFROM
    assert (found.spf.result, found.spf.domain) == (Result.PASS, "provider.com")
    assert found.dkim == ()
    assert found.dmarc.result is Result.PASS
    assert "spf=pass smtp.mailfrom=provider.com" in found.header(US)
    assert "dkim=none;" in found.header(US)


@pytest.mark.parametrize("helo", ["[192.0.2.1]", "localhost", "", "a b", "x\r\ny.com"])
async def test_a_helo_that_is_no_domain_has_no_spf(helo: str) -> None:
    found = await check(MESSAGE, came(helo=helo))
    assert (found.spf.result, found.spf.domain) == (Result.NONE, None)
    assert "spf=none;\r\n" in found.header(US)


async def test_strict_alignment_is_kept() -> None:
    resolver = zone()
    resolver.replace("_dmarc.provider.com", "TXT", "v=DMARC1; p=none; adkim=s; aspf=s")
    found = await check(signed(), resolver=resolver)
    assert found.dmarc.result is Result.PASS  # by SPF of the same name
    found = await check(signed(), came(helo="elsewhere.example"), resolver)
    assert found.dmarc.result is Result.FAIL


async def test_the_rules_may_differ_and_the_walk_decides() -> None:
    """psd=n at mx.provider.com makes it an organization of its own, to the walk alone."""
    resolver = zone()
    resolver.add("_dmarc.mx.provider.com", "TXT", "v=DMARC1; p=reject; psd=n")
    found = await check(signed(), came(helo="elsewhere.example"), resolver)
    assert found.dmarc.result is Result.FAIL
    assert found.dmarc.aligned_by == (Rule.SUFFIX_LIST,)
    assert "dmarc=fail (aligned by suffix list) reason=" in found.header(US)


async def test_without_a_record_dmarc_is_none() -> None:
    resolver = zone()
    resolver.remove("_dmarc.provider.com")
    found = await check(signed(), resolver=resolver)
    assert (found.dmarc.result, found.dmarc.author) == (Result.NONE, "mx.provider.com")


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"From: a@provider.com\r\nFrom: b@provider.com\r\n",
        b"From: MAILER-DAEMON\r\n",
        b"From: <>\r\n",
        b"From: a@provider.com, b@provider.com\r\n",
        b"From: \xff\xfe <a@provider.com>\r\n",
    ],
)
async def test_without_one_author_dmarc_is_none(fields: bytes) -> None:
    found = await check(fields + b"Subject: x\r\n\r\n")
    assert (found.dmarc.result, found.dmarc.author) == (Result.NONE, None)
    assert 'dmarc=none reason="no one plain Author address"' in found.header(US)
    assert found.spf.result is Result.PASS


async def test_a_header_that_is_none_leaves_spf() -> None:
    found = await check(b" odd\r\n\r\n")
    assert found.spf.result is Result.PASS
    assert [one.result for one in found.dkim] == [Result.PERMERROR]
    assert found.dmarc.result is Result.NONE


# ---- silence


@pytest.mark.parametrize(
    ("silent", "spf", "dkim", "dmarc"),
    [
        ("mx.provider.com", Result.TEMPERROR, Result.PASS, Result.PASS),
        ("s1._domainkey.provider.com", Result.PASS, Result.TEMPERROR, Result.PASS),
        ("_dmarc.provider.com", Result.PASS, Result.PASS, Result.TEMPERROR),
        ("_dmarc.com", Result.PASS, Result.PASS, Result.TEMPERROR),
    ],
)
async def test_dns_without_an_answer_is_temperror_for_what_hangs_on_it(
    silent: str, spf: Result, dkim: Result, dmarc: Result
) -> None:
    resolver = zone()
    resolver.silent.add(silent)
    found = await check(signed(), resolver=resolver)
    assert found.spf.result is spf
    assert [one.result for one in found.dkim] == [dkim]
    assert found.dmarc.result is dmarc


@pytest.mark.parametrize("silent", ["mx.provider.com", "s1._domainkey.provider.com"])
async def test_no_failure_while_something_that_might_pass_is_unknown(
    silent: str,
) -> None:
    resolver = zone()
    resolver.silent.add(silent)
    resolver.replace("provider.com", "TXT", "v=spf1 -all")
    changed = signed().replace(b"hello", b"hullo")
    content = changed if "domainkey" not in silent else signed()
    helo = "mx.provider.com" if "domainkey" not in silent else "provider.com"
    found = await check(content, came(helo=helo), resolver)
    assert found.dmarc.result is Result.TEMPERROR


async def test_a_signer_whose_organization_is_unknown_is_no_failure_either() -> None:
    resolver = zone()
    resolver.add("s1._domainkey.a.provider.com", "TXT", f"p={RSA.p}")
    resolver.silent.add("_dmarc.a.provider.com")
    below = signed_by_us(MESSAGE, RSA_KEY, Names("a.provider.com", "s1")) + MESSAGE
    elsewhere = came(helo="elsewhere.example")
    found = await check(below, elsewhere, resolver)
    assert found.dmarc.result is Result.TEMPERROR
    found = await check(
        signed_by_us(below, RSA_KEY, PROVIDER) + below, elsewhere, resolver
    )
    assert found.dmarc.result is Result.PASS


class SlowResolver(FakeResolver):
    """Answers what `quick` says at once, all else never."""

    quick: tuple[str, ...] = ()

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        if name not in self.quick:
            await asyncio.Event().wait()
        return await super().lookup(name, kind, fresh=fresh)


async def test_all_lookups_have_one_time_together() -> None:
    resolver = SlowResolver(zone().zone)
    resolver.quick = ("mx.provider.com",)
    began = asyncio.get_running_loop().time()
    found = await check(signed(), resolver=resolver, seconds=0.05)
    assert asyncio.get_running_loop().time() - began < 2
    assert found.spf.result is Result.PASS
    assert [one.result for one in found.dkim] == [Result.TEMPERROR]
    assert found.dmarc.result is Result.TEMPERROR
    assert found.authentic_domains == {"mx.provider.com"}


# ---- hostile


async def test_what_is_asked_is_bounded() -> None:
    resolver = zone()
    signatures = b"".join(
        signed_by_us(MESSAGE, RSA_KEY, Names(f"{one}.provider.com", "s1"))
        for one in range(40)
    )
    for one in range(40):
        resolver.add(f"s1._domainkey.{one}.provider.com", "TXT", f"p={RSA.p}")
    found = await check(signatures + MESSAGE, resolver=resolver)
    assert [one.result for one in found.dkim] == [Result.PASS] * 10
    assert len(resolver.asked) < 60


async def test_large_content_leaves_the_loop_to_others() -> None:
    content = MESSAGE + b"some  words here \r\n" * 1_000_000
    content = signed_by_us(content, RSA_KEY, PROVIDER) + content
    loop = asyncio.get_running_loop()
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            began = loop.time()
            await asyncio.sleep(0.001)
            worst = max(worst, loop.time() - began)

    watching = asyncio.create_task(watch())
    try:
        found = await check(content)
    finally:
        watching.cancel()
    assert [one.result for one in found.dkim] == [Result.PASS]
    assert worst < 0.5  # the hashing takes a second on a slow machine


_OCTETS = st.binary(max_size=200)
_FIELDS = st.lists(
    st.one_of(
        st.sampled_from([*signed().split(b"\r\n"), b"From: a@b.provider.com"]),
        _OCTETS,
        _OCTETS.map(lambda octets: b"From: " + octets),
        _OCTETS.map(lambda octets: b"DKIM-Signature: v=1; d=provider.com; " + octets),
    ),
    max_size=12,
)
_TXT = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=60),
    st.lists(
        st.sampled_from(
            [
                *(
                    "v=spf1",
                    "a",
                    "mx",
                    "ptr",
                    "+all",
                    "-all",
                    "include:%{h}.provider.com",
                ),
                *(
                    "exists:%{l}.%{d}",
                    "redirect=%{o}",
                    "a:%{p}",
                    "ip4:1.2.3.4/99",
                    "ip6:",
                ),
                *(
                    "exp=%{s}",
                    "mx:%{ir}.%{v}",
                    "exists:%{L-}.%{D2r}",
                    "%",
                    "x=y",
                    "a//",
                ),
            ]
        ),
        max_size=8,
    ).map(" ".join),
    st.lists(
        st.sampled_from(
            [
                "v=DMARC1",
                "p=reject",
                "psd=y",
                "psd=n",
                "adkim=s",
                "sp=x",
                "v=DKIM1",
                "p=",
            ]
        ),
        max_size=6,
    ).map("; ".join),
)


@examples(400)
@given(
    fields=_FIELDS,
    helo=st.one_of(st.text(max_size=40), st.just("mx.provider.com")),
    path=st.sampled_from(
        [NULL_REVERSE_PATH, parse_reverse_path('"a b\\"%{d}"@mx.provider.com')]
    ),
    client=st.ip_addresses(),
    texts=st.dictionaries(
        st.sampled_from([*zone().zone, "_dmarc.com", "_dmarc.mx.provider.com"]),
        st.lists(_TXT, max_size=3),
    ),
    silent=st.sets(st.sampled_from([*zone().zone])),
)
def test_nothing_raises_and_every_field_is_well_formed(
    fields: list[bytes],
    helo: str,
    path: ReversePath,
    client: object,
    texts: dict[str, list[str]],
    silent: set[str],
) -> None:
    resolver = zone()
    resolver.silent = silent
    for name, held in texts.items():
        resolver.zone[name] = [("TXT", text) for text in held]
    how = Came(client=client, helo=helo, reverse_path=path)
    found = asyncio.run(check(b"\r\n".join(fields), how, resolver))
    field = found.header(US)
    assert field.isascii()
    assert field.count("\r\n ") == field.count("\r") - 1 == field.count("\n") - 1
    if found.dmarc.result is Result.PASS:
        assert found.authentic_domains
