"""The checks of a preflight: from what was observed to what would happen to the mail.

Pure. Each check is one function of `Observed`; a check that a provider asked about demands
weighs FIX where it fails, any other WARN.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from soboo_mta.formats.keys import Algorithm
from soboo_mta.identity.preflight import hosts, policy, ways
from soboo_mta.identity.preflight.rules import MAILBOX_PROVIDERS, rules_for
from soboo_mta.identity.preflight.values import (
    ASK_AGAIN,
    Check,
    Code,
    KeySeen,
    Observed,
    Provider,
    Result,
    Traffic,
    WaySeen,
)
from soboo_mta.identity.state import (
    Hold,
    Plan,
    Refuse,
    Rung,
)

GOOD_RSA_BITS = 2_048  # RFC 8301 §3.2: signers should use no less


def preflight(
    seen: Observed, providers: Iterable[Provider], traffic: Traffic
) -> tuple[Check, ...]:
    """Return every check, in the order in which a message meets them."""
    wanted = tuple(providers)
    if seen.way is not None:
        return tuple(
            _weighed(check, wanted, traffic) for check in _by_their_way(seen, seen.way)
        )
    made = [
        _plan(seen),
        _author(seen),
        *_keys(seen),
        *_spf(seen),
        policy.dmarc(seen),
        policy.alignment(seen),
        *hosts.mail_hosts(seen),
        hosts.reverse(seen),
        hosts.ehlo(seen),
        hosts.root(seen),
        hosts.tls(seen),
    ]
    return tuple(_weighed(check, wanted, traffic) for check in made)


def _by_their_way(seen: Observed, way: WaySeen) -> Iterator[Check]:
    """What holds whoever sends the mail; our addresses and names are nobody's concern."""
    yield _plan(seen)
    if way.probed is not None and seen.settings.way_out is not None:
        yield ways.trial(seen.settings.way_out, way.probed)
    yield _author(seen)
    yield policy.dmarc(seen)
    yield ways.alignment(seen, way)
    yield from hosts.mail_hosts(seen)
    yield hosts.root(seen)


def would_pass(checks: Iterable[Check]) -> bool | None:
    """Whether mail would leave and be taken; None: DNS did not answer enough to say."""
    results = {check.result for check in checks}
    if results & {Result.HOLD, Result.FIX}:
        return False
    return None if Result.UNKNOWN in results else True


def _weighed(check: Check, providers: tuple[Provider, ...], traffic: Traffic) -> Check:
    """`check` with whose rules ask for it; a WARN that one of them demands is a FIX."""
    rules = rules_for(check.code, providers, traffic)
    is_demanded = bool(rules) and check.result is Result.WARN and not check.is_advice
    return replace(
        check,
        result=Result.FIX if is_demanded else check.result,
        asked_by=tuple(map(str, rules)),
    )


# ---- the plan and the From domain


def _plan(seen: Observed) -> Check:
    if seen.holds:
        return Check(
            code=Code.PLAN,
            result=Result.HOLD,
            sentence=f"its mail is held by hand: {'; '.join(seen.holds)}",
            mend="`soboo-mta queue release` or `tenant resume`, once the reason is gone",
        )
    match seen.departure:
        case Hold(explanation) | Refuse(explanation) if seen.way is not None:
            return Check(
                code=Code.PLAN,
                result=Result.HOLD,
                sentence=f"no mail leaves: {explanation}",
                mend="nothing yet; a domain that has to send now needs another mode",
            )
        case Hold(explanation):
            return Check(
                code=Code.PLAN,
                result=Result.HOLD,
                sentence=f"its mail is held: {explanation}",
                mend=f"mend that, then `soboo-mta domain verify {seen.settings.name}`",
            )
        case Refuse(explanation):
            return Check(
                code=Code.PLAN,
                result=Result.HOLD,
                sentence=f"its mail is refused, as the domain asks: {explanation}",
                mend=f"mend that, then `soboo-mta domain verify {seen.settings.name}`",
            )
        case Plan() as plan:
            return _planned(plan)


_RUNGS = {
    Rung.FULL: "",
    Rung.OPERATOR_BOUNCE: "SPF does not align, DKIM alone carries it",
    Rung.SPF_ONLY: "nothing signs, SPF alone carries it: forwarded mail fails",
    Rung.UNALIGNED: "it leaves unaligned, as the domain asks",
}


def _planned(plan: Plan) -> Check:
    bounce = plan.bounce_domain or "the author"
    signed = ", ".join(f"d={s.domain} s={s.selector}" for s in plan.signatures)
    sentence = (
        f"leaves on rung {plan.rung}: reverse-path at {bounce}, signed"
        f" {signed or 'by nobody'}, EHLO {plan.ehlo_name}"
    )
    lacks = _RUNGS[plan.rung]
    if plan.rung is Rung.FULL:
        return Check(code=Code.PLAN, result=Result.PASS, sentence=sentence)
    if plan.bounce_blind:
        lacks += "; bounces go to the customer and not to us"
    return Check(
        code=Code.PLAN,
        result=Result.FIX if plan.rung is Rung.UNALIGNED else Result.WARN,
        sentence=f"{sentence}; {lacks}",
        mend="publish what `soboo-mta domain records` shows; mode cname has all of it",
    )


def _author(seen: Observed) -> Check:
    name = seen.settings.name
    if name in MAILBOX_PROVIDERS:
        return Check(
            code=Code.FROM,
            result=Result.HOLD,
            sentence=f"{name} is a mailbox provider's: its policy lets nobody else send",
            mend="send from a domain of the customer's own",
        )
    return Check(
        code=Code.FROM, result=Result.PASS, sentence=f"{name} is no mailbox provider's"
    )


# ---- keys and SPF


def _keys(seen: Observed) -> Iterator[Check]:
    if not seen.keys:
        yield Check(
            code=Code.DKIM_KEY,
            result=Result.WARN,
            sentence="no signature would be made: no usable key",
            mend="publish the selectors that `soboo-mta domain records` shows",
        )
    own = (seen.settings.name, seen.settings.home)
    for key in seen.keys:
        yield _key(key, is_own=key.signature.domain in own)


def _key(key: KeySeen, *, is_own: bool) -> Check:
    """One key; providers ask for an RSA signature of the domain's own alone."""
    kind = key.signature.algorithm
    size = f"{key.bits} bits" if kind is Algorithm.RSA else "Ed25519"
    if key.fault is None:
        return Check(
            code=Code.DKIM_KEY,
            result=Result.UNKNOWN,
            sentence=f"{key.owner}: DNS gave no answer",
            mend=ASK_AGAIN,
        )
    if key.fault:
        shown = "domain records" if is_own else "domain records --operator"
        return Check(
            code=Code.DKIM_KEY,
            result=Result.WARN,
            sentence=f"{key.owner}: {key.fault}",
            mend=f"publish the key as `soboo-mta {shown}` shows it",
            is_advice=not is_own or kind is not Algorithm.RSA,
        )
    if kind is Algorithm.RSA and key.bits < GOOD_RSA_BITS:
        return Check(
            code=Code.DKIM_KEY,
            result=Result.WARN,
            sentence=f"{key.owner} holds our key, of {size} only (RFC 8301 §3.2)",
            mend=f"rotate to one of {GOOD_RSA_BITS}: `soboo-mta key rotate`",
            is_advice=True,
        )
    return Check(
        code=Code.DKIM_KEY,
        result=Result.PASS,
        sentence=f"{key.owner} holds our key, {size}",
    )


def _spf(seen: Observed) -> Iterator[Check]:
    spf, source = seen.spf, seen.source
    if spf is None:
        return
    where = f"{spf.domain} for {source.public_address} ({source.name})"
    cost = f"{spf.lookups} of 10 look-ups, {spf.voids} of 2 void"
    if spf.is_unknown:
        yield Check(
            code=Code.SPF_PASS,
            result=Result.UNKNOWN,
            sentence=f"SPF of {where}: DNS gave no answer",
            mend=ASK_AGAIN,
        )
    elif spf.result == "pass":
        yield Check(
            code=Code.SPF_PASS,
            result=Result.PASS,
            sentence=f"SPF of {where} is pass; {cost}",
        )
    else:
        yield Check(
            code=Code.SPF_PASS,
            result=Result.WARN,
            sentence=f"SPF of {where} is {spf.result}; {cost}",
            mend=f"see `soboo-mta domain spf {spf.domain}`, and let it name the address",
        )
