"""How mail of a domain leaves without the key that signs now: an emergency's question.

Pure: the plan of `depart` for the state after the key was taken out of use, in words.
"""

from dataclasses import replace
from typing import assert_never

from soboo_mta.identity.plan import depart
from soboo_mta.identity.state import (
    Departure,
    DomainState,
    Hold,
    KeyState,
    Operator,
    Plan,
    Refuse,
    Verdict,
)

_AFTER = {KeyState.ACTIVE: KeyState.RETIRING, KeyState.NEXT: KeyState.ACTIVE}


def ways_out_without(state: DomainState, operator: Operator) -> tuple[str, ...]:
    """Return one sentence for each way on which mail of the domain leaves once its active
    keys are retired and the next ones active, with the sources that share it."""
    keys = tuple(
        replace(key, state=_AFTER.get(key.state, key.state))
        for key in state.settings.keys
    )
    after = replace(state, settings=replace(state.settings, keys=keys))
    sources: dict[str, list[str]] = {}
    for source in operator.sources:
        way = _words(depart(after, source, operator))
        sources.setdefault(way, []).append(source.name)
    return tuple(f"{way} (source {', '.join(names)})" for way, names in sources.items())


def _words(departure: Departure) -> str:
    match departure:
        case Plan():
            return _leaves(departure)
        case Hold():
            return f"mail is held: {departure.explanation}"
        case Refuse():
            return f"mail is refused: {departure.explanation}"
    assert_never(departure)


def _leaves(plan: Plan) -> str:
    if plan.verdict is Verdict.FAIL:
        return "mail leaves unaligned, as on_broken = send_unaligned says"
    if plan.signatures:
        names = ", ".join(f"s={s.selector} d={s.domain}" for s in plan.signatures)
        return f"mail leaves signed with {names}"
    return "mail leaves unsigned, by SPF alone, which aligns"
