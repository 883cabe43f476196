"""Why a report says that a recipient got nothing. Pure."""

from collections.abc import Iterator

from soboo_mta.formats.classes.rules import RuleSet, Said, said_in
from soboo_mta.mail.bounce_class import BounceClass, Classified
from soboo_mta.mail.returned import Dsn, Reported


def class_of_report(
    rules: RuleSet, report: Dsn, recipient: Reported, *, next_hop: str = ""
) -> Classified:
    """Return the class of what `report` says of `recipient`, one of its own. `next_hop`
    took the message from us: the provider where the report names no host."""
    for said in _surest_first(report, recipient, next_hop):
        found = rules.classify(said)
        if found.bounce_class is not BounceClass.UNKNOWN:
            return found
    return rules.of(BounceClass.UNKNOWN)


def _surest_first(report: Dsn, recipient: Reported, next_hop: str) -> Iterator[Said]:
    """The receiver's own words; a status that says something, for the notice's words are
    about many things; those, where they can be about nobody else."""
    hosts = (recipient.remote_mta, report.reporting_mta, next_hop)
    status = recipient.status
    if recipient.diagnostic:
        yield said_in(recipient.diagnostic, status=status, hosts=hosts)
    elif status is not None and (status.subject, status.detail) != (0, 0):
        yield Said(text="", status=status, hosts=hosts)
    if len(report.recipients) == 1:
        yield said_in(report.text, status=status, hosts=hosts)
