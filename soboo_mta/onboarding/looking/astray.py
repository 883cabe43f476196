"""The questions where a CNAME of ours is wanted and an answer did not come by it."""

from collections.abc import Mapping
from dataclasses import dataclass

from soboo_mta.identity.state import Operator, PublicKey
from soboo_mta.mail.domain import DnsName
from soboo_mta.onboarding.judging import judge, judge_alias, judge_key
from soboo_mta.onboarding.judging.judge import Around, Finding
from soboo_mta.onboarding.judging.judge_alias import Alias, Astray
from soboo_mta.onboarding.looking.around import (
    Sought,
    Surroundings,
    addresses_in,
    is_endless,
    named,
)
from soboo_mta.ports import (
    Answer,
    Found,
    MxRecord,
    NoData,
    NoName,
    RecordType,
    Unanswered,
)


@dataclass(frozen=True, slots=True)
class AstrayLook:
    """Asks what tells how a name came to lead elsewhere, or nowhere. `known`: by which
    CNAMEs a name led to us when it was last seen good, as `Alias.way`."""

    surroundings: Surroundings
    operator: Operator
    known: Mapping[DnsName, str]

    async def finding(
        self,
        alias: Alias,
        kind: RecordType,
        answer: Answer,
        keys: tuple[PublicKey, ...] = (),
    ) -> Finding:
        """The finding for a name that did not lead through our target."""
        if isinstance(answer, Unanswered):
            # What is behind the CNAME is silent; the CNAME itself may still be known.
            chain = await self.surroundings.chain(alias.owner)
            if not isinstance(chain, tuple):
                answer = chain
            elif is_endless(alias.owner, chain):
                return judge_alias.endless(alias, chain)
            elif alias.target in chain or self._is_known(alias.owner, chain):
                return judge.unknown(Unanswered(cause=f"{chain[-1]} gives no answer"))
            else:
                answer = NoData(chain=chain, ttl=0)
        if isinstance(answer, Unanswered):
            return judge.unknown(answer)
        seen = await self._seen(alias, kind, answer, keys)
        return judge_alias.wrong_alias(alias, answer, seen)

    def _is_known(self, owner: DnsName, chain: tuple[DnsName, ...]) -> bool:
        """Whether this is the way by which the name led to us: a name in between that is
        silent now says nothing."""
        return f"CNAME {chain[0]}." in self.known.get(owner, "")

    async def _seen(
        self,
        alias: Alias,
        kind: RecordType,
        answer: Found | NoData | NoName,
        keys: tuple[PublicKey, ...],
    ) -> Astray:
        """What tells how the name came to be as it is."""
        around, owner = self.surroundings, alias.owner
        if answer.chain:
            wild = await around.is_wildcard(owner, kind, answer)
            return Astray(around=Around(is_wildcard=wild))
        if isinstance(answer, Found):
            cname = await around.records(owner, RecordType.CNAME)
            return Astray(
                around=Around(
                    is_wildcard=await around.is_wildcard(owner, kind, answer)
                ),
                cname=DnsName(str(cname[0].records[0])) if cname else None,
                serves_ours=self._is_ours(answer, keys),
            )
        if isinstance(answer, NoData):
            there = await around.beside(owner, kind)
            if there:
                return await self._beside(owner, there)
        sought = Sought(
            owner=owner,
            kind=RecordType.CNAME,
            is_it=lambda name: name.startswith(alias.target),
        )
        missing = await around.of_missing(sought, is_no_name=isinstance(answer, NoName))
        return Astray(around=missing)

    async def _beside(self, owner: DnsName, there: dict[RecordType, Found]) -> Astray:
        kind, first = next(iter(there.items()))
        return Astray(
            around=Around(
                others=named(there),
                is_wildcard=await self.surroundings.is_wildcard(owner, kind, first),
            ),
            addresses=addresses_in(there),
        )

    def _is_ours(self, answer: Found, keys: tuple[PublicKey, ...]) -> bool:
        """Whether the records are those that our target holds."""
        if any(judge_key.is_served(answer, key) for key in keys):
            return True
        hosts = {r.host for r in answer.records if isinstance(r, MxRecord)}
        return bool(hosts) and hosts <= set(self.operator.mx_hosts)
