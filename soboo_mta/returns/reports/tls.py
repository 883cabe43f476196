"""What a TLS report counts for, and which of its failures are ours to mend; pure.

A report says how sessions of its sender with our bounce hosts' MX went. Anybody can write
one: by mail it counts where its Author's domain signed it (RFC 8460 §3); over HTTPS nothing
is proved, so that its figures are shown as that and tell nobody of trouble.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from soboo_mta.formats.authentication import Authentication, Result
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.returned import TlsFailure, TlsPolicy, TlsReport

MAX_HOSTS: Final = 20  # bounce hosts of one report: each is asked for in the store
MAX_FAILURES: Final = 100  # rows of one host and policy; further ones are added up
MAX_OF_HOST: Final = 1_000  # reports on one host in a day
MAX_OF_REPORTER: Final = 48  # of these by one signer: most send one
MAX_UNPROVED: Final = 100  # of these by nobody that is known
MAX_SESSIONS: Final = (
    1_000_000_000  # of one figure: sums of what strangers say stay numbers
)
DAY_MS: Final = 86_400_000
OLDEST: Final = timedelta(days=14)  # its end, when it comes: RFC 8460 §5.5 has one day
AHEAD: Final = timedelta(days=2)  # of our clock, and the day in hand
_MAX_NAME: Final = 100  # characters of what a report calls itself: an index holds it
_MAX_ID: Final = 200
_MAX_WORD: Final = 60  # of a result type or a policy type
_MAX_HOST: Final = 255
_UNSAID: Final = "unspecified"

MENDING: Final[Mapping[str, str]] = {  # the result types of RFC 8460 §4.3
    "starttls-not-supported": 'The MX host offered no STARTTLS: set tls = "starttls" in'
    " [[return_listeners]], and see that nothing before it takes the word out.",
    "certificate-host-mismatch": "The certificate does not name the MX host: get one that"
    " has every name of [operator] mx_hosts.",
    "certificate-expired": "The MX host's certificate has run out: renew it, then send"
    " the relay SIGHUP.",
    "certificate-not-trusted": "Senders do not trust who issued the MX host's certificate:"
    " use a public authority, and put its chain into [tls] certificate_file.",
    "validation-failure": "TLS failed for a reason that has no name of its own: try"
    " `openssl s_client -starttls smtp` on the MX host, and see the reason code.",
    "tlsa-invalid": "No TLSA record of the MX host fits its certificate: publish the new"
    " one before the certificate changes (DANE).",
    "dnssec-invalid": "DNSSEC of the MX host's zone or of the bounce host's does not"
    " validate: mend its signatures, or the DS record in the parent.",
    "dane-required": "A sender wants DANE and finds no TLSA record that it can use: sign"
    " the MX host's zone and publish one.",
    "sts-policy-fetch-error": "The MTA-STS policy could not be fetched: serve it at"
    " https://mta-sts.HOST/.well-known/mta-sts.txt, HOST being the bounce host.",
    "sts-policy-invalid": "The MTA-STS policy was fetched and is none: write it anew with"
    " `soboo-mta zone mta-sts`.",
    "sts-webpki-invalid": "The certificate of the MTA-STS policy's host is not good for"
    " mta-sts.HOST, HOST being the bounce host: renew it.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the store says of a report on one host: whether it is `counted` already, and
    how many there were today, `of_reporter` those of the same proof."""

    is_ours: bool
    is_counted: bool
    of_host: int
    of_reporter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A failure that is ours to mend; `mend` is one sentence."""

    result: str
    sessions: int
    receiving_mx: tuple[str, ...]
    mend: str


def signed_by(found: Authentication | None) -> Domain | None:
    """Return the domain that signed a mailed report for its Author; None where none did.

    The signer is the Author's domain or one above it: `d=` of google.com for a mailbox
    below it.
    """
    author = found.dmarc.author if found is not None else None
    if found is None or author is None:
        return None
    signers = [
        one.domain
        for one in found.dkim
        if one.result is Result.PASS
        and one.domain is not None
        and (author == one.domain or author.is_below(one.domain))
    ]
    return max(signers, key=len, default=None)


def by_host(report: TlsReport) -> dict[Domain, tuple[TlsPolicy, ...]]:
    """Return what a report says of each host, one element a policy; names that are no
    domains, and those over MAX_HOSTS, are left out."""
    found: dict[Domain, dict[str, list[TlsPolicy]]] = {}
    for one in report.policies:
        try:
            host = Domain.parse(one.domain)
        except FormatError:
            continue
        if host in found or len(found) < MAX_HOSTS:
            policies = found.setdefault(host, {})
            policy = one.policy.lower()[:_MAX_WORD] or _UNSAID
            policies.setdefault(policy, []).append(one)
    return {
        host: tuple(_merged(host, policy, some) for policy, some in policies.items())
        for host, policies in found.items()
    }


def passed_over(
    report: TlsReport, known: Known, *, proved_by: Domain | None, now: int
) -> str:
    """Return why a report on one host does not count; "" where it does. `now` is unix ms."""
    end = int(report.end.timestamp() * 1_000)
    if not known.is_ours:
        return "it is about no bounce host of ours"
    if report.end < report.begin:
        return "it ends before it begins"
    if end < now - OLDEST // timedelta(milliseconds=1):
        return f"it ended over {OLDEST.days} days ago"
    if end > now + AHEAD // timedelta(milliseconds=1):
        return "it ends in the future"
    if known.is_counted:
        return "it was counted before"
    most = MAX_UNPROVED if proved_by is None else MAX_OF_REPORTER
    if known.of_reporter >= most or known.of_host >= MAX_OF_HOST:
        return "there were too many of them in a day"
    return ""


def incidents(
    policies: Iterable[TlsPolicy], *, proved_by: Domain | None
) -> tuple[Incident, ...]:
    """Return what somebody should mend, one for each result type; nothing where nobody
    is known to have said it."""
    if proved_by is None:
        return ()
    found: dict[str, list[TlsFailure]] = defaultdict(list)
    for policy in policies:
        for one in policy.failures:
            if one.result in MENDING and one.sessions > 0:
                found[one.result].append(one)
    return tuple(
        Incident(
            result=result,
            sessions=_sum(one.sessions for one in some),
            receiving_mx=tuple(sorted({one.receiving_mx for one in some} - {""})),
            mend=MENDING[result],
        )
        for result, some in sorted(found.items())
    )


def reporter_of(report: TlsReport) -> str:
    """What a report calls its sender, of a length to keep."""
    return report.reporter[:_MAX_NAME] or _UNSAID


def id_of(report: TlsReport) -> str:
    """Its id, of a length to keep; one without is known by its time."""
    return report.report_id[:_MAX_ID] or f"{report.begin:%Y%m%d%H%M}"


def _merged(host: Domain, policy: str, some: list[TlsPolicy]) -> TlsPolicy:
    return TlsPolicy(
        policy=policy,
        domain=str(host),
        succeeded=_sum(one.succeeded for one in some),
        failed=_sum(one.failed for one in some),
        failures=_added_up(failure for one in some for failure in one.failures),
    )


def _added_up(failures: Iterable[TlsFailure]) -> tuple[TlsFailure, ...]:
    """One for each result, MX and sender, the most sessions first; where there are too
    many, the rest by result alone."""
    found: dict[tuple[str, str, str], TlsFailure] = {}
    for one in map(_bounded, failures):
        _add(found, one)
    ordered = sorted(found.values(), key=lambda one: -one.sessions)
    kept = {_key(one): one for one in ordered[:MAX_FAILURES]}
    for one in ordered[MAX_FAILURES:]:
        rest = replace(one, sending_ip="", receiving_mx="", reason="")
        if _key(rest) in kept or len(kept) < 2 * MAX_FAILURES:
            _add(kept, rest)
    return tuple(kept.values())


def _add(found: dict[tuple[str, str, str], TlsFailure], one: TlsFailure) -> None:
    before = found.get(_key(one))
    if before is not None:
        one = replace(before, sessions=_sum((before.sessions, one.sessions)))
    found[_key(one)] = one


def _sum(sessions: Iterable[int]) -> int:
    return min(sum(sessions), MAX_SESSIONS)


def _key(one: TlsFailure) -> tuple[str, str, str]:
    return one.result, one.receiving_mx, one.sending_ip


def _bounded(one: TlsFailure) -> TlsFailure:
    return replace(
        one,
        result=one.result.lower()[:_MAX_WORD] or _UNSAID,
        receiving_mx=one.receiving_mx.lower().rstrip(".")[:_MAX_HOST],
        sending_ip=one.sending_ip[:_MAX_WORD],
        sessions=_sum((one.sessions,)),
    )
