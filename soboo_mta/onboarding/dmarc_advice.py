"""The DMARC records that are there, read for advice on what to have. Asks; decides nothing."""

import asyncio

from soboo_mta.identity.dmarc import Texts, names_to_ask
from soboo_mta.identity.dmarc_merge import DmarcAdvice, dmarc_advice
from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.onboarding.judging.judge import texts
from soboo_mta.ports import RecordType, Resolver, Unanswered


async def advised_dmarc(
    author: Domain, resolver: Resolver, reports: Mailbox | None, *, merge: bool
) -> DmarcAdvice | Unanswered:
    """Ask every name of the tree walk anew and return what to have, as `dmarc_advice`.

    Unanswered where one of them gave no answer: a record may be there.
    """
    found = await _walked(author, resolver)
    if isinstance(found, Unanswered):
        return found
    return dmarc_advice(author, found, reports, merge=merge)


async def _walked(author: Domain, resolver: Resolver) -> Texts | Unanswered:
    async with asyncio.TaskGroup() as group:
        asked = {
            name: group.create_task(resolver.lookup(name, RecordType.TXT, fresh=True))
            for name in names_to_ask(author)
        }
    answers = {name: task.result() for name, task in asked.items()}
    for answer in answers.values():
        if isinstance(answer, Unanswered):
            return answer
    return {name: texts(answer) for name, answer in answers.items()}
