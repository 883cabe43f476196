"""What DNS says about a link or image host of the customer's. Pure, as `judge.py`.

Nothing here is worth breaking what a customer has: a name that is in use stays as it is.
"""

from soboo_mta.identity.state import Fault, RecordStatus
from soboo_mta.onboarding.judging.judge import Finding, shown
from soboo_mta.onboarding.judging.judge_alias import Alias
from soboo_mta.ports import Found, NoData, NoName


def served_host(alias: Alias, answer: Found | NoData | NoName) -> Finding:
    """The finding for addresses asked for at a name that leads to our target."""
    found = f"CNAME {alias.target}."
    if isinstance(answer, Found):
        return Finding(status=RecordStatus.GOOD, found=found, ttl=answer.ttl)
    return Finding(
        status=RecordStatus.WRONG,
        fault=Fault.OPERATOR_HOST,
        found=found,
        cause=f"{alias.target} has no address",
        mend="the operator publishes what `soboo-mta domain records --operator` shows",
        ttl=answer.ttl,
    )


def host_in_use(alias: Alias, answer: Found | NoData | NoName) -> Finding:
    """The finding for a name that somebody else's records stand at."""
    return Finding(
        status=RecordStatus.WRONG,
        fault=Fault.WRONG_TARGET if answer.chain else Fault.CONFLICT,
        found=f"CNAME {answer.chain[0]}." if answer.chain else shown(answer),
        cause=f"{alias.owner} is in use for something else",
        mend=f"leave it; where nobody needs it any more, {alias.mend}",
        ttl=answer.ttl,
    )
