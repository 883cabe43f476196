"""The checks of a preflight that are about DMARC: its record, and what aligns under it.

Pure, as `checks.py`.
"""

from soboo_mta.formats.keys import Algorithm
from soboo_mta.identity.alignment import aligned_by, verdict
from soboo_mta.identity.preflight.values import (
    ASK_AGAIN,
    Check,
    Code,
    KeySeen,
    Observed,
    Result,
)
from soboo_mta.identity.state import Alignment, Verdict


def dmarc(seen: Observed) -> Check:
    """One record that both kinds of receivers find, and whether its reports are agreed to."""
    found, name = seen.dmarc, seen.settings.name
    if found is None:
        return Check(
            code=Code.DMARC_REC,
            result=Result.UNKNOWN,
            sentence=f"DMARC of {name}: DNS gave no answer",
            mend=ASK_AGAIN,
        )
    if not found.walk.has_record or not found.suffix_list.has_record:
        return _no_record(seen)
    strict = [
        tag
        for tag, how in (("adkim=s", found.walk.dkim), ("aspf=s", found.walk.spf))
        if how is Alignment.STRICT
    ]
    sentence = ", ".join([f"{found.found_at}: p={found.walk.policy}", *strict])
    if found.is_test:
        sentence += ", t=y (lowered by one, RFC 9989 §4.7)"
    refused = [r for r in found.reports if r.is_authorised is False]
    if refused:
        return Check(
            code=Code.DMARC_REC,
            result=Result.WARN,
            sentence=f"{sentence}; {refused[0].host} does not agree to take its reports",
            mend=f'{refused[0].host} publishes {refused[0].owner} TXT "v=DMARC1"',
            is_advice=True,
        )
    if any(report.is_authorised is None for report in found.reports):
        sentence += "; whether its rua= is agreed to got no answer"
    return Check(code=Code.DMARC_REC, result=Result.PASS, sentence=sentence)


def _no_record(seen: Observed) -> Check:
    found, name = seen.dmarc, seen.settings.name
    assert found is not None
    if len(found.records) > 1:
        sentence = f"_dmarc.{name} has {len(found.records)} records: none counts"
        return Check(
            code=Code.DMARC_REC,
            result=Result.WARN,
            sentence=sentence,
            mend="keep one",
        )
    if found.walk.has_record or found.suffix_list.has_record:
        who = "RFC 9989" if found.walk.has_record else "the public suffix list"
        return Check(
            code=Code.DMARC_REC,
            result=Result.WARN,
            sentence=f"only receivers that go by {who} find a record for {name}",
            mend=f'publish _dmarc.{name} TXT "v=DMARC1; p=none"',
        )
    return Check(
        code=Code.DMARC_REC,
        result=Result.WARN,
        sentence=f"no DMARC record applies to {name}",
        mend=f'publish _dmarc.{name} TXT "v=DMARC1; p=none"',
    )


# ---- alignment


def alignment(seen: Observed) -> Check:
    """What a receiver will conclude, by what authenticates as observed and not by what the
    plan rests on: the two must come to the same."""
    found, name = seen.dmarc, seen.settings.name
    if found is None:
        return Check(
            code=Code.ALIGN,
            result=Result.UNKNOWN,
            sentence="without DMARC's answer nothing is known of alignment",
            mend=ASK_AGAIN,
        )
    spf = seen.spf.domain if seen.spf and seen.spf.result == "pass" else None
    keys = tuple(key.signature.domain for key in seen.keys if _verifies(key))
    by = {
        "tree walk (RFC 9989)": aligned_by(
            name, found.walk, spf_domain=spf, dkim_domains=keys
        ),
        "public suffix list": aligned_by(
            name, found.suffix_list, spf_domain=spf, dkim_domains=keys
        ),
    }
    judged = verdict(
        name,
        walk=found.walk,
        suffix_list=found.suffix_list,
        spf_domain=spf,
        dkim_domains=keys,
    )
    words = str(judged).replace("_", " ")
    sentence = f"DMARC {words}: " + "; ".join(
        f"by {how} {_aligning(what)}" for how, what in by.items()
    )
    if judged is not Verdict.FAIL:
        return Check(code=Code.ALIGN, result=Result.PASS, sentence=sentence)
    if _is_half_heard(seen):
        return Check(
            code=Code.ALIGN,
            result=Result.UNKNOWN,
            sentence=f"{sentence}, as far as DNS answered",
            mend=ASK_AGAIN,
        )
    return Check(
        code=Code.ALIGN,
        result=Result.FIX,
        sentence=sentence,
        mend="a usable key with d= of the domain, or SPF of a bounce domain below it",
    )


def _aligning(what: tuple[str, ...]) -> str:
    return f"{' and '.join(what) or 'nothing'} align{'s' if len(what) < 2 else ''}"


def _verifies(key: KeySeen) -> bool:
    # Large receivers do not verify Ed25519: it counts for nothing (RFC 8463 §5).
    return key.fault == "" and key.signature.algorithm is Algorithm.RSA


def _is_half_heard(seen: Observed) -> bool:
    silent = any(key.fault is None for key in seen.keys)
    return silent or (seen.spf is not None and seen.spf.is_unknown)
