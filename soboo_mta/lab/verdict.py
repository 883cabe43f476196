"""A receiver's view of one message, by libraries that are not ours.

SPF by spftrace, each signature by dkimpy, alignment and policy by `dmarc` (pydmarc) over
publicsuffixlist (RFC 7208, RFC 6376, RFC 8463, RFC 7489). Ours are the look-ups, from
the lab's own zones, and the finding of the DMARC record. Uses nothing of the rooms it
judges, and never raises for what a message can hold.
"""

import binascii
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import getaddresses

import dkim
import dmarc
import dns.exception
import dns.name
import dns.rcode
import dns.rdatatype
import idna
import spftrace
from dkim.util import InvalidTagValueList, parse_tag_value
from publicsuffixlist import PublicSuffixList
from spftrace.resolver import NOERROR, NXDOMAIN, SERVFAIL, BaseResolver

from soboo_mta.lab.dns.zones import Reply, Zones
from soboo_mta.lab.record import DkimResult, SpfResult, Verdict

_MAX_SIGNATURES = 10  # judged per message; receivers stop somewhere too
_ASSUMED = "v=DMARC1; p=none"  # to say `aligned` where no record is published
_QUIET = logging.getLogger("soboo_mta.lab.dkim")
_BROKEN = (  # what dkimpy lets out of a broken signature or key (library traps)
    dkim.DKIMException,
    InvalidTagValueList,
    binascii.Error,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What the judgement is about: the connection, the envelope and the octets."""

    peer: str
    helo: str
    mail_from: str
    octets: bytes


class Judge:
    """Judges messages; keeps the suffix list loaded. Never waits: look-ups are local."""

    def __init__(self) -> None:
        self._suffixes = PublicSuffixList()
        self._evaluator = dmarc.DMARC(publicsuffix=_Organization(self._suffixes))

    async def judge(self, received: Received, zones: Zones) -> Verdict:
        """Return the verdict under the DNS of `zones`."""
        lookup = _Lookup(zones)
        try:
            signed = dkim.DKIM(received.octets or b"\r\n", logger=_QUIET)
        except (dkim.MessageFormatError, IndexError):  # not a header at all
            return Verdict(dmarc="permerror", dmarc_reason="there is no header")
        authors = _values(signed, b"from")
        domain = _author_domain(authors)
        spf = await _check_spf(received, lookup)
        signatures = tuple(
            _check_signature(signed, index, value, lookup)
            for index, value in enumerate(_signatures(signed))
        )
        judged = self._dmarc(domain, spf, signatures, lookup)
        return Verdict(
            author=", ".join(authors),
            author_domain=domain,
            message_id=", ".join(_values(signed, b"message-id")),
            spf=spf,
            dkim=signatures,
            dmarc=judged.result,
            dmarc_policy=judged.policy,
            dmarc_reason=judged.reason,
            aligned=bool(judged.aligned),
            aligned_by=judged.aligned,
        )

    def _dmarc(
        self,
        domain: str,
        spf: SpfResult,
        signatures: Sequence[DkimResult],
        lookup: "_Lookup",
    ) -> "_Judged":
        if not domain:
            return _Judged(result="permerror", reason="there is not one Author address")
        organization = self._suffixes.privatesuffix(domain) or domain
        found = _record_for(domain, organization, lookup)
        try:
            policy = self._evaluator.parse_record(
                found.record or _ASSUMED, domain, strict=False
            )
        except dmarc.RecordSyntaxError:
            found = _Policy(broken="permerror", reason=f"not a record: {found.record}")
        record = _ASSUMED if found.broken or not found.record else found.record
        aligned = self._aligned(record, domain, spf, signatures)
        if found.broken or not found.record:
            result = found.broken or "none"
            return _Judged(result=result, reason=found.reason, aligned=aligned)
        reason = _why(domain, aligned, spf, signatures)
        uncertain = "temperror" in (spf.result, *(each.result for each in signatures))
        failed = "temperror" if uncertain else "fail"
        return _Judged(
            result="pass" if aligned else failed,
            policy=str(policy.p.value),
            reason=reason,
            aligned=aligned,
        )

    def _aligned(
        self, record: str, domain: str, spf: SpfResult, signatures: Sequence[DkimResult]
    ) -> tuple[str, ...]:
        """What passes and aligns, each asked by itself: "SPF of a.test", "DKIM d=b.test"."""
        found = []
        if self._passes(record, domain, self._authenticated(spf, ())):
            found.append(f"SPF of {spf.domain}")
        nothing = SpfResult()
        for each in signatures:
            if self._passes(record, domain, self._authenticated(nothing, [each])):
                found.append(f"DKIM d={each.d}")
        return tuple(found)

    def _passes(
        self, record: str, domain: str, authenticated: dmarc.AuthResults
    ) -> bool:
        policy = self._evaluator.parse_record(record, domain, strict=False)
        outcome = self._evaluator.get_result(policy, auth_results=authenticated)
        return outcome.result is dmarc.DMARCResult.PASS

    def _authenticated(
        self, spf: SpfResult, signatures: Sequence[DkimResult]
    ) -> dmarc.AuthResults:
        """What passed, less domains that are public suffixes: the library would take
        a suffix for an aligned parent."""
        return dmarc.AuthResults(
            spf=dmarc.SPF(spf.domain, dmarc.SPFResult.PASS)
            if spf.result == "pass" and self._is_owned(spf.domain)
            else None,
            dkim=[
                dmarc.DKIM(signature.d, dmarc.DKIMResult.PASS)
                for signature in signatures
                if signature.result == "pass" and self._is_owned(signature.d)
            ],
        )

    def _is_owned(self, domain: str) -> bool:
        return self._suffixes.privatesuffix(domain) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Policy:
    record: str = ""
    broken: str = ""  # temperror, permerror
    reason: str = ""  # where there is no record to go by


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """DMARC's part of the verdict."""

    result: str
    reason: str
    policy: str = ""
    aligned: tuple[str, ...] = ()


class _Organization:
    """publicsuffixlist behind the method name that the DMARC library calls."""

    def __init__(self, suffixes: PublicSuffixList) -> None:
        self._suffixes = suffixes

    def get_public_suffix(self, domain: str) -> str:
        return self._suffixes.privatesuffix(domain.lower()) or domain


class _Lookup(BaseResolver):
    """The lab's zones in the shapes that spftrace and dkimpy ask for."""

    def __init__(self, zones: Zones) -> None:
        self._zones = zones
        self.failed = False  # since the caller last cleared it

    async def _lookup(self, name: str, rtype: str) -> tuple[str, list[str]]:
        reply = self.ask(name, rtype)
        if not reply.is_known:
            return SERVFAIL, []
        if reply.rcode == dns.rcode.NXDOMAIN:
            return NXDOMAIN, []
        if rtype == "TXT":
            return NOERROR, _strings(reply)
        records = reply.answer or ()
        if rtype == "MX":
            return NOERROR, [str(each.exchange).rstrip(".") for each in records]
        return NOERROR, [str(each).rstrip(".") for each in records]

    def txt(self, name: bytes, timeout: int = 5) -> bytes | None:
        """dkimpy's `dnsfunc`: the only TXT there, or the first that is a key."""
        found = _strings(self.ask(name.decode("latin-1"), "TXT"))
        keys = [text for text in found if "p=" in text] or found
        return keys[0].encode("latin-1") if keys else None

    def ask(self, name: str, kind: str) -> Reply:
        try:
            asked = dns.name.from_text(name)
        except (dns.exception.DNSException, ValueError):
            return Reply(rcode=dns.rcode.NXDOMAIN)
        reply = self._zones.lookup(asked, dns.rdatatype.from_text(kind))
        self.failed |= not reply.is_known
        return reply


async def _check_spf(received: Received, lookup: _Lookup) -> SpfResult:
    """Both identities; the null reverse-path is postmaster of HELO (RFC 7208 §2.4)."""
    helo, why = await _spf(received, f"postmaster@{received.helo}", lookup)
    if not received.mail_from:
        return SpfResult(
            domain=received.helo.lower(), mail_from=helo, helo=helo, reason=why
        )
    result, why = await _spf(received, received.mail_from, lookup)
    return SpfResult(
        domain=received.mail_from.rpartition("@")[2].lower(),
        mail_from=result,
        helo=helo,
        reason=why,
    )


async def _spf(received: Received, sender: str, lookup: _Lookup) -> tuple[str, str]:
    """Return the result and a reason: what the evaluation ended with, or the record."""
    checked = await spftrace.acheck(
        received.peer, sender, received.helo, resolver=lookup
    )
    for event in reversed(checked.trace.to_list()):
        if event.get("reason"):
            return str(checked.result).lower(), str(event["reason"])
    records = [text for query in checked.queries[:1] for text in query.answers]
    policy = next((text for text in records if text.startswith("v=spf1")), "no record")
    return str(checked.result).lower(), f"{received.peer} by {policy}"


def _check_signature(
    signed: dkim.DKIM, index: int, value: bytes, lookup: _Lookup
) -> DkimResult:
    try:
        tags = parse_tag_value(value)
    except InvalidTagValueList:
        return DkimResult(
            d="", s="", a="", result="permerror", reason="not a list of tags"
        )
    result, reason = "fail", "the signature does not match"
    lookup.failed = False
    try:
        if signed.verify(index, dnsfunc=lookup.txt):
            result, reason = "pass", ""
    except _BROKEN as trouble:
        reason = f"{type(trouble).__name__}: {trouble}"
        result = "fail" if isinstance(trouble, dkim.ValidationError) else "permerror"
    if lookup.failed:
        result, reason = "temperror", "the key could not be looked up"
    d, s, a = (tags.get(tag, b"").decode("latin-1") for tag in (b"d", b"s", b"a"))
    return DkimResult(d=d.lower(), s=s, a=a, result=result, reason=reason)


def _record_for(domain: str, organization: str, lookup: _Lookup) -> _Policy:
    """Find the DMARC record: the domain's own, else its organization's (RFC 7489 §6.6.3)."""
    names = tuple(f"_dmarc.{name}" for name in dict.fromkeys((domain, organization)))
    for name in names:
        reply = lookup.ask(name, "TXT")
        if not reply.is_known:
            return _Policy(broken="temperror", reason=f"{name} could not be looked up")
        records = [text for text in _strings(reply) if text.startswith("v=DMARC1")]
        if len(records) > 1:  # as if none were there
            return _Policy(reason=f"{len(records)} records at {name}: none counts")
        if records:
            return _Policy(record=records[0])
    return _Policy(reason=f"no record at {' nor at '.join(names)}")


def _why(
    domain: str,
    aligned: Sequence[str],
    spf: SpfResult,
    signatures: Sequence[DkimResult],
) -> str:
    """Say what decided for or against `domain`."""
    if aligned:
        return f"{' and '.join(aligned)} align{'s' * (len(aligned) == 1)} with {domain}"
    seen = [f"SPF {spf.result} of {spf.domain or 'no domain'}"]
    seen += [f"DKIM {each.result} d={each.d}" for each in signatures]
    seen += [] if signatures else ["no DKIM signature"]
    return f"nothing passes that aligns with {domain}: {', '.join(seen)}"


def _author_domain(authors: Sequence[str]) -> str:
    """The domain of the one Author address, in ASCII; "" where there is not one."""
    if len(authors) != 1:
        return ""
    addresses = getaddresses([authors[0]])
    if len(addresses) != 1:
        return ""
    domain = addresses[0][1].rpartition("@")[2].lower()
    try:
        if domain.isascii():
            dns.name.from_text(domain)
            return domain
        return idna.encode(domain, uts46=True).decode("ascii")
    except (dns.exception.DNSException, idna.IDNAError, UnicodeError):
        return ""


def _signatures(signed: dkim.DKIM) -> list[bytes]:
    named = [
        value for name, value in signed.headers if name.lower() == b"dkim-signature"
    ]
    return named[:_MAX_SIGNATURES]


def _values(signed: dkim.DKIM, name: bytes) -> list[str]:
    """The values of a field, unfolded, UTF-8 where they are."""
    return [
        value.replace(b"\r\n", b"").strip().decode("utf-8", "replace")
        for held, value in signed.headers
        if held.lower() == name
    ]


def _strings(reply: Reply) -> list[str]:
    """TXT records, each with its strings joined."""
    return [
        b"".join(each.strings).decode("latin-1")
        for each in reply.answer or ()
        if each.rdtype == dns.rdatatype.TXT
    ]
