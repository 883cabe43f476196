"""What DNS says about the SPF record of a From domain, and how it was pasted wrongly.

Pure, as `judge.py`. What is wrong with the record comes before what it lacks: an include
that is put into a broken record mends nothing (RFC 7208 §4.6).
"""

import re
from dataclasses import dataclass

from soboo_mta.identity.state import Fault, RecordStatus
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.onboarding.judging.judge import Finding, printable, texts, unknown
from soboo_mta.onboarding.spf import SpfResults
from soboo_mta.onboarding.spf.tree import MAX_LOOKUPS, SpfBudget
from soboo_mta.ports import Answer, Unanswered

_VERSION = re.compile(r"v=spf1(?= |$)", re.IGNORECASE)
_ANY_VERSION = re.compile(r"v=spf1\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The name, what its record is to include, and the record as a tree; None where all
    our sources pass and it is not open to others."""

    name: Domain
    include: DnsName
    budget: SpfBudget | None

    @property
    def term(self) -> str:
        return f"include:{self.include}"


@dataclass(frozen=True, slots=True)
class _Slip:
    """What is wrong with a record, or missing."""

    fault: Fault
    cause: str
    mend: str

    @property
    def status(self) -> RecordStatus:
        is_missing = self.fault is Fault.SPF_MISSING
        return RecordStatus.MISSING if is_missing else RecordStatus.WRONG


def author_spf(wanted: Wanted, answer: Answer, spf: SpfResults) -> Finding:
    """The finding for SPF of the From domain itself (RFC 7208)."""
    if isinstance(answer, Unanswered):
        return unknown(answer)
    found = texts(answer)
    records = [text for text in found if _VERSION.match(text)]
    held = printable(", ".join(records or _near_misses(found)))
    slip = _slip(wanted, records, found, spf)
    if spf.unknown and (slip is None or len(records) == 1):
        return Finding(
            status=RecordStatus.UNKNOWN,
            fault=Fault.NO_ANSWER,
            found=held,
            cause=f"SPF of {wanted.name} got no answer: {spf.others}",
            mend="nothing yet: we ask again",
            ttl=answer.ttl,
            spf=spf.passing,
            spf_unknown=spf.unknown,
        )
    if slip is None:
        remark = _twice(records[0])
        return Finding(
            status=RecordStatus.GOOD,
            fault=remark.fault if remark else Fault.NONE,
            found=held,
            cause=remark.cause if remark else "",
            mend=remark.mend if remark else "",
            ttl=answer.ttl,
            spf=spf.passing,
        )
    return Finding(
        status=slip.status,
        fault=slip.fault,
        found=held,
        cause=printable(slip.cause),
        mend=slip.mend,
        ttl=answer.ttl,
        spf=spf.passing,
        spf_unknown=spf.unknown,
    )


def _slip(
    wanted: Wanted, records: list[str], found: tuple[str, ...], spf: SpfResults
) -> _Slip | None:
    if not records:
        return _none(wanted, found)
    if len(records) > 1:
        return _Slip(
            Fault.SPF_SEVERAL,
            f"{wanted.name} has {len(records)} SPF records, which is an error"
            " (RFC 7208 §4.5)",
            f"join them to one that holds {wanted.term}",
        )
    if wanted.budget is None:
        return None
    if wanted.budget.v4.passes_all or wanted.budget.v6.passes_all:
        return _Slip(
            Fault.SPF_OPEN,
            f"SPF of {wanted.name} passes for every address in the world",
            "end the record in ~all or -all, never in +all or all",
        )
    if not spf.others:
        return None
    return _syntax(wanted, records[0]) or _include(wanted, records[0], spf)


def is_open(answer: Answer) -> bool:
    """Whether a record there may pass for everybody: it says all without -, ~ or ?."""
    words = {word.lower() for text in texts(answer) for word in text.split()}
    return bool(words & {"all", "+all"})


def _near_misses(found: tuple[str, ...]) -> list[str]:
    return [text for text in found if _ANY_VERSION.search(text)]


def _none(wanted: Wanted, found: tuple[str, ...]) -> _Slip:
    """No record; or one that begins with something else."""
    near = _near_misses(found)
    value = f'"v=spf1 {wanted.term} ~all"'
    if not near:
        return _Slip(
            Fault.SPF_MISSING,
            f"{wanted.name} has no SPF record",
            f"publish {wanted.name} TXT {value}",
        )
    fault = Fault.SPF_SYNTAX
    cause = f"the SPF record of {wanted.name} does not begin with v=spf1"
    if '"' in near[0]:
        fault, cause = Fault.QUOTED, "quotation marks became part of the SPF record"
    elif "\\" in near[0]:
        fault, cause = Fault.ESCAPED, "backslashes became part of the SPF record"
    return _Slip(
        fault,
        cause,
        f"replace it: publish {wanted.name} TXT {value}, joined with what it names",
    )


def _syntax(wanted: Wanted, record: str) -> _Slip | None:
    """What makes the record an error to receivers, whatever it includes."""
    twice = _twice(record)
    if twice:
        return twice
    words = record.split()
    if "include:" in words or "include" in words:
        return _Slip(
            Fault.SPF_SYNTAX,
            "a blank stands after include:, so it includes nothing",
            f"write {wanted.term} without a blank",
        )
    if '"' in record or "\\" in record:
        return _Slip(
            Fault.QUOTED if '"' in record else Fault.ESCAPED,
            "quotation marks or backslashes became part of the SPF record",
            "leave them out",
        )
    mistaken = _mistaken(wanted, record)
    if mistaken:
        return _Slip(
            Fault.SPF_MISNAMED,
            f"{mistaken} is not the name to include: that is {wanted.include}",
            f"write {wanted.term} in its place",
        )
    budget = wanted.budget
    if budget is None or not budget.faults:
        return None
    return _Slip(
        _kind_of(budget),
        budget.faults[0],
        f"mend that first: `soboo-mta domain spf {wanted.name}` shows it as a tree",
    )


def _kind_of(budget: SpfBudget) -> Fault:
    """What the first of its faults is."""
    trees = (budget.v4, budget.v6)
    if any(tree.fault for tree in trees):
        return Fault.SPF_SYNTAX
    if any(tree.has_fault for tree in trees):
        return Fault.SPF_BROKEN_INCLUDE
    return Fault.SPF_LOOKUPS if budget.lookups > MAX_LOOKUPS else Fault.SPF_VOIDS


def _twice(record: str) -> _Slip | None:
    """Receivers skip the second v=spf1 as a modifier they do not know (RFC 7208 §6), and
    what follows the first all."""
    if len(_ANY_VERSION.findall(record)) < 2:
        return None
    return _Slip(
        Fault.SPF_PASTED_TWICE,
        "the SPF record was pasted twice into one value: nothing after its first all is read",
        "leave one v=spf1 in it, at the beginning, and one all, at the end",
    )


def _include(wanted: Wanted, record: str, spf: SpfResults) -> _Slip:
    """Our include is not there, not reached, or does not name all sources."""
    put = f"put {wanted.term} into the record, before its all"
    terms = [word.lower() for word in record.split()[1:]]
    bare = [term.lstrip("+") for term in terms]
    if wanted.term in bare:
        seen = wanted.budget.v4.terms if wanted.budget else ()
        reached = {t.text.lower().lstrip("+"): t.is_reached for t in seen}
        if not reached.get(wanted.term, True):
            return _Slip(
                Fault.SPF_UNREAD,
                f"{wanted.term} stands after a term that matches everything, so nobody"
                " reads it",
                put,
            )
        return _Slip(
            Fault.OPERATOR_SPF,
            f"SPF of {wanted.name} does not pass for all our sources: {spf.others}",
            f"the operator publishes {wanted.include} for all its sources"
            " (`soboo-mta domain records --operator`)",
        )
    if any(term[:1] in "-~?" and term[1:] == wanted.term for term in terms):
        return _Slip(
            Fault.SPF_NEGATED,
            f"{wanted.term} is there with a sign before it that says it is not to pass",
            f"write {wanted.term} without -, ~ or ?",
        )
    return _Slip(
        Fault.SPF_WITHOUT_US,
        f"SPF of {wanted.name} does not pass for all our sources: {spf.others}",
        put,
    )


def _mistaken(wanted: Wanted, record: str) -> str:
    """A term that means us and does not say so: our name by another mechanism, another
    name of ours, or ours with the zone's name appended."""
    home = wanted.include.partition(".")[2]
    terms = [word.lower().lstrip("+") for word in record.split()[1:]]
    if any(term.lstrip("-~?") == wanted.term for term in terms):
        return ""
    for term in terms:
        name = re.split(r"[:=]", term, maxsplit=1)[-1].rstrip(".")
        is_ours = name == wanted.include or name == home or name.endswith("." + home)
        if is_ours or name.startswith(f"{wanted.include}."):
            return term
    return ""
