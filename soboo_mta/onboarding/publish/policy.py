"""What a zone's own DMARC record is before the delegation takes it away."""

from soboo_mta.identity.dmarc import names_to_ask
from soboo_mta.identity.zones.zone_dmarc import record_to_keep
from soboo_mta.mail.domain import DnsName
from soboo_mta.onboarding.judging.judge import texts
from soboo_mta.ports import RecordType, Resolver, Unanswered


async def policy_there(zone: DnsName, resolver: Resolver) -> str | None:
    """Return what the zone is to say of DMARC, "" for nothing; None where one of its
    names got no answer: nothing is known then."""
    found: dict[DnsName, tuple[str, ...]] = {}
    for name in names_to_ask(zone):
        answer = await resolver.lookup(name, RecordType.TXT)
        if isinstance(answer, Unanswered):
            return None
        found[name] = texts(answer)
    return record_to_keep(zone, found)
