"""What the DMARC records of a domain say, and whether our mail can align under them.

Pure, as `judge.py`. A record is ours to judge, not ours to write: what is valid is GOOD,
with a remark where it costs something.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from soboo_mta.identity.alignment import aligned_by
from soboo_mta.identity.dmarc import Texts, policy_by_walk, record_at, record_texts
from soboo_mta.identity.state import Alignment, DmarcView, Fault, RecordStatus
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.judging.judge import (
    NOTHING_AROUND,
    Around,
    Finding,
    misplaced,
    printable,
    unknown,
)
from soboo_mta.onboarding.judging.judge import texts as found_texts
from soboo_mta.ports import Answer, NoData, Unanswered


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Both views of the DMARC records that apply to `author`, out of `texts`: the TXT of
    every name of both walks. `ttl` in seconds is that of its own name."""

    author: Domain
    texts: Texts
    walk: DmarcView
    suffix_list: DmarcView
    ttl: int

    @property
    def own(self) -> tuple[str, ...]:
        """The DMARC records at the author's own name."""
        return record_texts(self.texts.get(self._name, ()))

    @property
    def applied(self) -> tuple[DnsName, str] | None:
        """The record that applies by the walk, and where it is."""
        return applied_record(self.author, self.texts)

    @property
    def near_misses(self) -> tuple[str, ...]:
        """What was meant as a DMARC record and does not begin as one."""
        there = self.texts.get(self._name, ())
        return tuple(text for text in there if "dmarc" in text.lower())

    @property
    def _name(self) -> DnsName:
        return DnsName(f"_dmarc.{self.author}")


def applied_record(author: Domain, texts: Texts) -> tuple[DnsName, str] | None:
    """Return the record that is in force for `author` (RFC 9989 §4.10.1), and where it is;
    `texts` holds the TXT of all names of its walk."""
    found = policy_by_walk(author, texts)
    if found is None:
        return None
    name = DnsName(f"_dmarc.{found[0]}")
    return name, record_texts(texts[name])[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """The names under which our mail authenticates: d= of its signatures, and the domain
    of the reverse-path; None where that is never a name of the customer's."""

    dkim: tuple[Domain, ...]
    spf: Domain | None


def dmarc(seen: Seen, around: Around = NOTHING_AROUND) -> Finding:
    """The finding for the records alone."""
    if seen.own and record_at(seen.own) is None:
        return _broken(seen)
    if seen.walk.has_record:
        name, text = seen.applied or ("", "")
        return _finding(
            seen, RecordStatus.GOOD, found=printable(f"{name} {text}".strip())
        )
    if seen.near_misses:
        return _near_miss(seen)
    return _missing(seen, around)


def _near_miss(seen: Seen) -> Finding:
    fault = Fault.DMARC_SYNTAX
    cause = "the record does not begin with v=DMARC1; so it is none (RFC 9989 §4.7)"
    mend = "begin it with v=DMARC1; p=none"
    if any(text.startswith('"') for text in seen.near_misses):
        fault, cause = Fault.QUOTED, "quotation marks became part of the DMARC record"
        mend = "your DNS host adds them itself, so leave them out"
    return _finding(
        seen,
        RecordStatus.WRONG,
        fault=fault,
        found=printable(", ".join(seen.near_misses)),
        cause=cause,
        mend=mend,
    )


def _broken(seen: Seen) -> Finding:
    several = len(seen.own) > 1
    return _finding(
        seen,
        RecordStatus.WRONG,
        fault=Fault.DMARC_SEVERAL if several else Fault.DMARC_SYNTAX,
        found=printable(", ".join(seen.own)),
        cause=(
            f"{len(seen.own)} DMARC records are there, which counts as none"
            if several
            else "the DMARC record has no valid p= (RFC 9989 §4.7)"
        ),
        mend="keep one" if several else "write p=none, p=quarantine or p=reject",
    )


def _missing(seen: Seen, around: Around) -> Finding:
    owner = DnsName(f"_dmarc.{seen.author}")
    mend = f'publish {owner} TXT "v=DMARC1; p=none"'
    found = misplaced(around, owner, mend, NoData(chain=(), ttl=seen.ttl))
    if found is not None:
        return replace(found, walk=seen.walk, suffix_list=seen.suffix_list)
    return _finding(
        seen,
        RecordStatus.MISSING,
        fault=Fault.DMARC_MISSING,
        cause=f"no DMARC record applies to {seen.author}: large receivers ask for one",
        mend=mend,
    )


def _finding(
    seen: Seen,
    status: RecordStatus,
    *,
    fault: Fault = Fault.NONE,
    found: str = "",
    cause: str = "",
    mend: str = "",
) -> Finding:
    return Finding(
        status=status,
        fault=fault,
        found=found,
        cause=cause,
        mend=mend,
        ttl=seen.ttl,
        walk=seen.walk,
        suffix_list=seen.suffix_list,
    )


def strict(seen: Seen, finding: Finding, ours: Authenticated) -> Finding:
    """`finding` of a good record, or what its strict alignment keeps us from
    (RFC 9989 §4.4)."""
    views = (seen.walk, seen.suffix_list)
    by_dkim = all(
        aligned_by(seen.author, view, spf_domain=None, dkim_domains=ours.dkim)
        for view in views
    )
    by_spf = all(
        aligned_by(seen.author, view, spf_domain=ours.spf, dkim_domains=())
        for view in views
    )
    is_strict = any(view.dkim is Alignment.STRICT for view in views)
    if by_dkim or not is_strict:
        return finding
    signed = ", ".join(ours.dkim) or "no name of its own"
    mend = (
        f"publish the recommended selectors of {seen.author}, so that mail is signed as"
        " it, or write adkim=r"
    )
    if by_spf:
        return replace(
            finding,
            fault=Fault.DMARC_STRICT_DKIM,
            cause=f"adkim=s: the signature of {signed} does not align with {seen.author},"
            " so SPF alone carries the mail, and forwarding breaks it",
            mend=mend,
        )
    return replace(
        finding,
        status=RecordStatus.WRONG,
        fault=Fault.DMARC_STRICT,
        cause=f"strict alignment: neither the signature of {signed} nor SPF of"
        f" {ours.spf or 'the reverse-path'} aligns with {seen.author}",
        mend=mend,
    )


def refused_reports(
    finding: Finding, owner: DnsName, hosts: Sequence[Domain]
) -> Finding:
    """`finding` of a good record that sends reports to `hosts`, which have not agreed to
    those of `owner` (RFC 9990 §4): receivers send them none."""
    if not hosts:
        return finding
    wanted = report_name(owner, hosts[0])
    return replace(
        finding,
        fault=Fault.DMARC_REPORTS,
        cause=f"rua= names {', '.join(hosts)}, where nothing says that reports about"
        f" {owner} are wanted, so none are sent",
        mend=f'have {hosts[0]} publish {wanted} TXT "v=DMARC1", or name another address',
    )


def half_known(
    finding: Finding, found: Texts, author: Domain, silent: Sequence[Unanswered]
) -> Finding:
    """`finding` where some names of the walks gave no answer.

    The record of the author's own domain decides how to align, whatever is silent; with
    whom is known by all names alone. Without that record nothing is.
    """
    if not silent:
        return finding
    if record_at(found.get(DnsName(f"_dmarc.{author}"), ())) is None:
        return unknown(silent[0])
    assert finding.walk is not None
    silence = unknown(silent[0])
    return replace(
        silence,
        found=finding.found,
        cause=f"the record is there; names above it were silent: {silence.cause}",
        walk=replace(finding.walk, organizational=()),
        suffix_list=finding.suffix_list,
    )


# ---- reports to us


def report_name(owner: DnsName, host: Domain) -> DnsName:
    """Where `host` says that it takes reports on the DMARC record of `owner`
    (RFC 9990 §4)."""
    return DnsName(f"{owner}._report._dmarc.{host}")


def without_reports(author: Domain) -> Finding:
    """No record applies, so that nobody reports."""
    return Finding(
        status=RecordStatus.MISSING,
        fault=Fault.DMARC_MISSING,
        cause=f"no DMARC record applies to {author}, so nobody reports on it",
        mend=f"soboo-mta domain records {author} shows the one to publish",
    )


def reports_elsewhere(author: Domain, name: DnsName, reports: Mailbox) -> Finding:
    """The record at `name` applies, and has no reports sent to `reports`."""
    return Finding(
        status=RecordStatus.MISSING,
        fault=Fault.DMARC_WITHOUT_US,
        cause=f"the DMARC record at {name} does not name {reports} in its rua=",
        mend=f"soboo-mta domain records {author} --dmarc-reports shows it with that"
        " address",
    )


def reports_taken(owner: DnsName, host: Domain, answer: Answer | None) -> Finding:
    """What our own zone, `host`, says of reports on `owner`, which is another
    organization's (RFC 9990 §4); None: it is ours, and nobody is asked."""
    if isinstance(answer, Unanswered):
        return unknown(answer)
    if answer is None or record_texts(found_texts(answer)):
        return Finding(status=RecordStatus.GOOD)
    return Finding(
        status=RecordStatus.MISSING,
        fault=Fault.OPERATOR_REPORTS,
        cause=f"the DMARC record names us, and our zone does not say that we take reports"
        f" on {owner}, so none are sent",
        mend=f'the operator publishes {report_name(owner, host)} TXT "v=DMARC1":'
        f" soboo-mta zone show {host}",
    )
