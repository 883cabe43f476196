"""What was found of a message that came in: SPF, each signature, DMARC (RFC 8601 §2.7).

Names in these values are parsed; a `cause` is one sentence that may hold a stranger's
words, and nothing but `header` puts it anywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from soboo_mta.formats.authentication.field import Clause, authentication_results
from soboo_mta.mail.domain import DnsName, Domain


class Result(StrEnum):
    """The words of all three methods (RFC 8601 §2.7.1, §2.7.2; RFC 9989)."""

    PASS = "pass"  # noqa: S105 - a result, not a password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    NONE = "none"
    POLICY = "policy"  # it may be good, and we do not take it for proof
    TEMPERROR = "temperror"  # DNS gave no answer, or not in time
    PERMERROR = "permerror"


class Identity(StrEnum):
    """What SPF was asked about (RFC 7208 §2.3, §2.4)."""

    MAILFROM = "mailfrom"
    HELO = "helo"  # the reverse-path is null


class Rule(StrEnum):
    """How a receiver finds Organizational Domains; the words stand in the field."""

    WALK = "tree walk"  # RFC 9989 §4.10
    SUFFIX_LIST = "suffix list"  # RFC 7489 §3.2


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfVerdict:
    """`domain` is None where the name that was said is no domain."""

    result: Result
    identity: Identity
    domain: Domain | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureVerdict:
    """What became of one signature. Its d=, s= and a= are what it claims, None and ""
    where they can't be read; `b` is the beginning of its b= (RFC 6008 §4); `cause` is ""
    where it passes."""

    result: Result
    domain: Domain | None = None
    selector: DnsName | None = None
    algorithm: str = ""
    b: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcVerdict:
    """`result` is that of RFC 9989; `aligned_by` names every rule under which something
    that passed aligns. `policy` is the p= of the record that was found, at `found_at`."""

    result: Result
    author: Domain | None = None
    policy: str = ""
    found_at: DnsName | None = None
    aligned_by: tuple[Rule, ...] = ()
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """All that was found of one message; no signature, no element in `dkim`."""

    spf: SpfVerdict
    dkim: tuple[SignatureVerdict, ...]
    dmarc: DmarcVerdict

    @property
    def authentic_domains(self) -> frozenset[Domain]:
        """The domains that are proven to have sent or signed it."""
        verdicts: list[SpfVerdict | SignatureVerdict] = [self.spf, *self.dkim]
        return frozenset(
            one.domain
            for one in verdicts
            if one.result is Result.PASS and one.domain is not None
        )

    def header(self, authserv_id: Domain) -> str:
        """Return the whole Authentication-Results field, with folds and the final CRLF.

        ASCII, whatever the message held; no line over 78 columns but for a name that
        has no room in one.
        """
        return authentication_results(authserv_id, self._clauses())

    def _clauses(self) -> Iterator[Clause]:
        spf, dmarc = self.spf, self.dmarc
        yield Clause("spf", spf.result, (("smtp." + spf.identity, spf.domain),))
        if not self.dkim:
            yield Clause("dkim", Result.NONE)
        for one in self.dkim:
            said = (
                ("header.d", one.domain),
                ("header.s", one.selector),
                ("header.a", one.algorithm),
                ("header.b", one.b),
            )
            yield Clause("dkim", one.result, said, reason=one.cause)
        yield Clause(
            "dmarc",
            dmarc.result,
            (
                ("header.from", dmarc.author),
                ("polrec.p", dmarc.policy),
                ("polrec.domain", dmarc.found_at),
            ),
            reason=dmarc.cause,
            comment=", ".join(f"aligned by {rule}" for rule in dmarc.aligned_by),
        )
