"""The departure plan: how a message of a domain leaves now, or why it does not.

`depart` is pure and whole: from what was configured and what DNS was last seen to say it
goes down a ladder of ways out and takes the first whose predicted DMARC verdict is not
fail. Where none is left it holds or refuses, and names the record to mend.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from soboo_mta.identity.alignment import aligned_by, verdict
from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import (
    Algorithm,
    Alignment,
    Departure,
    DmarcView,
    DomainSettings,
    DomainState,
    Facts,
    Hold,
    KeyState,
    Mode,
    OnBroken,
    Operator,
    Plan,
    PublicKey,
    Purpose,
    Refuse,
    RequiredRecord,
    Rung,
    SignaturePlan,
    Source,
    Verdict,
)
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import KeyId

LAST_KNOWN_GOOD = timedelta(hours=72)
# RETIRING never signs: in an emergency it is the key that leaked.
_SIGNING_STATES = (KeyState.ACTIVE, KeyState.NEXT)


def depart(
    state: DomainState,
    source: Source,
    operator: Operator,
    operator_facts: Facts | None = None,
) -> Departure:
    """Return how mail of this domain leaves from `source` now.

    A Plan's verdict is FAIL only where the domain says `on_broken = send_unaligned`, and
    never for a domain whose ownership was not proved. `operator_facts` None: the
    operator's domain was not looked at; its bounce domain is then taken as configured,
    and its signature counts for nothing.
    """
    settings = state.settings
    if why := no_way_out(settings):
        return _stop(
            settings, why
        )  # whatever else is set: no other way is the domain's
    if settings.assume_verified:
        facts: Facts | None = assumed_facts(settings, source)
        operator_facts = None
    elif not state.was_verified:
        return _stop(settings, _never_verified(settings, operator))
    else:
        facts = state.facts
    if facts is None:
        return Hold(f"the DNS records of {settings.name} were not yet looked at")
    ways = _Ways(settings, facts, source, operator, operator_facts)
    for plan in ways.ladder():
        if plan.verdict is not Verdict.FAIL:
            return plan
    if settings.on_broken is OnBroken.SEND_UNALIGNED:
        return ways.unaligned()
    return _stop(settings, ways.explanation())


_NO_WAY_OUT = {
    Mode.RELAY: "delivery through the customer's relay is not in this release",
    Mode.MAILBOX: "delivery through the customer's mailbox is not in this release",
}


def no_way_out(settings: DomainSettings) -> str:
    """Return why mail of the domain can't leave whatever its DNS says; "" where it can."""
    lacks = _NO_WAY_OUT.get(settings.mode)
    return f"{settings.name} is in mode {settings.mode}: {lacks}" if lacks else ""


def is_outdated(state: DomainState, now: int) -> bool:
    """Whether nobody has looked at the domain's DNS for so long (unix ms) that what was
    seen counts for nothing: silence keeps the last known good for 72 hours, and a watch
    that has stopped is silence too."""
    if state.facts is None or state.settings.assume_verified:
        return False
    return now - state.facts.observed_at > LAST_KNOWN_GOOD // timedelta(milliseconds=1)


def signing_key(
    keys: tuple[PublicKey, ...], algorithm: Algorithm, usable: tuple[KeyId, ...]
) -> PublicKey | None:
    """Return the key to sign with: the active one, else the next one, if usable."""
    for state in _SIGNING_STATES:
        for key in keys:
            if (
                key.state is state
                and key.algorithm is algorithm
                and key.key_id in usable
            ):
                return key
    return None


def assumed_facts(settings: DomainSettings, source: Source) -> Facts:
    """Facts of an `assume_verified` domain: all good, as far as it has an RSA key."""
    keys = tuple(key.key_id for key in settings.keys)
    has_key = signing_key(settings.keys, Algorithm.RSA, keys) is not None
    bounces = has_key and settings.mode in (Mode.CNAME, Mode.ZONE)
    name = settings.name
    view = DmarcView(
        has_record=has_key,
        policy="none",
        dkim=Alignment.RELAXED,
        spf=Alignment.RELAXED,
        organizational=(
            (name, name),
            (settings.home, name),
            (settings.bounce_domain, name),
        ),
    )
    return Facts(
        usable=keys if has_key else (),
        bounce_ready=bounces,
        spf_bounce=(source.name,) if bounces else (),
        spf_author=(),
        walk=view,
        suffix_list=view,
        observed_at=0,
    )


@dataclass(frozen=True, slots=True)
class _Ways:
    """The ways out of one domain from one source, best first."""

    settings: DomainSettings
    facts: Facts
    source: Source
    operator: Operator
    operator_facts: Facts | None

    def ladder(self) -> Iterator[Plan]:
        own = self._own_signatures()
        bounce = self.settings.bounce_domain
        spf_bounce = self.source.name in self.facts.spf_bounce
        if own:
            if self.facts.bounce_ready and spf_bounce:
                yield self._plan(Rung.FULL, bounce, own, spf=bounce)
            if self._operator_bounces():
                yield self._plan(
                    Rung.OPERATOR_BOUNCE,
                    self.operator.bounce_domain,
                    own,
                    spf=self._operator_spf(),
                )
            if self.facts.bounce_ready:
                # Its SPF does not name this source yet: DKIM carries the alignment.
                yield self._plan(Rung.FULL, bounce, own, spf=None)
        elif self.facts.bounce_ready and spf_bounce:
            yield self._plan(Rung.SPF_ONLY, bounce, (), spf=bounce)
        if self.source.name in self.facts.spf_author:
            yield self._plan(Rung.SPF_ONLY, None, own, spf=self.settings.name)

    def unaligned(self) -> Plan:
        """The way out by the domain's own setting, below the ladder."""
        bounce = (
            self.settings.bounce_domain
            if self.facts.bounce_ready
            else self.operator.bounce_domain
        )
        return self._plan(Rung.UNALIGNED, bounce, self._own_signatures(), spf=None)

    def explanation(self) -> str:
        return _explanation(
            self.settings,
            self.facts,
            self.source,
            self.operator,
            has_key=bool(self._own_signatures()),
        )

    def _plan(
        self,
        rung: Rung,
        bounce_domain: Domain | None,
        own: tuple[SignaturePlan, ...],
        *,
        spf: Domain | None,
    ) -> Plan:
        theirs = self._operator_signature()
        believed = (*own, *theirs) if self.operator_facts else own
        author, walk, suffix_list = (
            self.settings.name,
            self.facts.walk,
            self.facts.suffix_list,
        )
        dkim = tuple(s.domain for s in believed if s.algorithm is Algorithm.RSA)
        return Plan(
            rung=rung,
            bounce_domain=bounce_domain,
            signatures=(*own, *theirs),
            ehlo_name=self.source.ehlo_name,
            verdict=verdict(
                author,
                walk=walk,
                suffix_list=suffix_list,
                spf_domain=spf,
                dkim_domains=dkim,
            ),
            by_walk=aligned_by(author, walk, spf_domain=spf, dkim_domains=dkim),
            by_suffix_list=aligned_by(
                author, suffix_list, spf_domain=spf, dkim_domains=dkim
            ),
            policy=walk.policy if walk.has_record else "",
        )

    def _own_signatures(self) -> tuple[SignaturePlan, ...]:
        # Ed25519 never alone: large receivers do not verify it (RFC 8463 §5).
        settings, facts = self.settings, self.facts
        author = _signatures(settings.name, settings.keys, facts.usable_author, _BOTH)
        return author or _signatures(settings.home, settings.keys, facts.usable, _BOTH)

    def _operator_signature(self) -> tuple[SignaturePlan, ...]:
        if not self.settings.sign_with_operator:
            return ()
        keys, facts = self.operator.keys, self.operator_facts
        usable = facts.usable if facts else tuple(key.key_id for key in keys)
        return _signatures(self.operator.domain, keys, usable, (Algorithm.RSA,))

    def _operator_bounces(self) -> bool:
        return self.operator_facts is None or self.operator_facts.bounce_ready

    def _operator_spf(self) -> Domain | None:
        facts = self.operator_facts
        if facts is None or self.source.name not in facts.spf_bounce:
            return None
        return self.operator.bounce_domain


_BOTH = (Algorithm.RSA, Algorithm.ED25519)


def _signatures(
    domain: Domain,
    keys: tuple[PublicKey, ...],
    usable: tuple[KeyId, ...],
    algorithms: tuple[Algorithm, ...],
) -> tuple[SignaturePlan, ...]:
    """One signature per algorithm that has a usable key; none without an RSA one."""
    chosen = [signing_key(keys, algorithm, usable) for algorithm in algorithms]
    if chosen[0] is None:
        return ()
    return tuple(
        SignaturePlan(domain, key.selector, key.key_id, key.algorithm)
        for key in chosen
        if key is not None
    )


def _stop(settings: DomainSettings, explanation: str) -> Departure:
    if settings.on_broken is OnBroken.REFUSE:
        return Refuse(explanation)
    return Hold(explanation)


# ---- words for whoever has to mend it


def _never_verified(settings: DomainSettings, operator: Operator) -> str:
    records = [r for r in required_records(settings, operator) if r.is_required]
    return (
        f"{settings.name} was never verified for this tenant; "
        f"publish {'; '.join(_sentence(record) for record in records)}"
    )


def _explanation(
    settings: DomainSettings,
    facts: Facts,
    source: Source,
    operator: Operator,
    *,
    has_key: bool,
) -> str:
    """Say why no rung bears and which record opens one again, the best rung first."""
    required = required_records(settings, operator)
    if has_key:
        bounce = [r for r in required if r.purpose is Purpose.BOUNCE]
        hosts = ", ".join(f"{host}." for host in operator.mx_hosts)
        theirs = f"the operator publishes MX {hosts} at {operator.bounce_domain}"
        ways = "; or ".join([*map(_sentence, bounce), theirs])
        return f"no bounce domain for {settings.name}; mend {ways}"
    why = f"no usable DKIM key for {settings.name} and {_why_not_spf(facts, source)}"
    selectors = frozenset(
        key.selector
        for key in settings.keys
        if key.algorithm is Algorithm.RSA and key.state in _SIGNING_STATES
    )
    if not selectors:
        why = f"{settings.name} has no RSA key to sign with: make one ({why})"
    records = [
        record
        for record in required
        if record.selector in selectors or _opens_spf(record, facts, source)
    ]
    if not records:
        return why
    return f"{why}; mend {'; or '.join(_sentence(record) for record in records)}"


def _opens_spf(record: RequiredRecord, facts: Facts, source: Source) -> bool:
    """Whether SPF alone could carry the mail once this record is right."""
    match record.purpose:
        case Purpose.SPF:
            return source.name not in facts.spf_author
        case Purpose.BOUNCE:
            return not facts.bounce_ready and _bounce_could_align(facts)
        case Purpose.DMARC:
            has_spf = source.name in (*facts.spf_author, *facts.spf_bounce)
            return has_spf and not facts.walk.has_record
        case _:
            return False


def _bounce_could_align(facts: Facts) -> bool:
    return (
        facts.walk.has_record
        and facts.walk.spf is Alignment.RELAXED
        and facts.suffix_list.spf is Alignment.RELAXED
    )


def _why_not_spf(facts: Facts, source: Source) -> str:
    names = (*facts.spf_bounce, *facts.spf_author)
    if source.name not in names:
        return f"SPF does not name the source {source.name} ({source.public_address})"
    if not facts.walk.has_record:
        return "no DMARC record under which SPF could align by itself"
    return "SPF of the bounce domain does not align with it (aspf=s, or another owner)"


def _sentence(record: RequiredRecord) -> str:
    return f"{record.owner} {record.kind} {record.value}"
