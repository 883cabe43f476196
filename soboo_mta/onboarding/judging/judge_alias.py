"""What DNS says where a CNAME of ours is wanted and the answer did not come by it.

Pure, as `judge.py`. What is there tells how it came about: a host that flattens, a value
of another type, a target typed wrongly or of somebody else.
"""

from dataclasses import dataclass
from ipaddress import ip_network

from soboo_mta.identity.state import Fault, RecordStatus
from soboo_mta.mail.domain import DnsName
from soboo_mta.onboarding.judging.judge import (
    NOTHING_AROUND,
    Around,
    Finding,
    absent,
    by_wildcard,
    misplaced,
    shown,
    texts,
    unknown,
)
from soboo_mta.onboarding.judging.targets import OurNames, stray
from soboo_mta.ports import Answer, Found, IpAddress, NoData, NoName, Unanswered

_PROXIES = (
    tuple(  # whose addresses stand where a CNAME is "proxied": cloudflare.com/ips
        ip_network(network)
        for network in (
            "104.16.0.0/13",
            "104.24.0.0/14",
            "172.64.0.0/13",
            "162.158.0.0/15",
            "188.114.96.0/20",
            "190.93.240.0/20",
            "198.41.128.0/17",
            "2606:4700::/32",
            "2a06:98c0::/29",
        )
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A CNAME we ask for: `owner` to `target`; whose other targets may be."""

    owner: DnsName
    target: DnsName
    ours: OurNames

    def leads_to_us(self, answer: Answer) -> bool:
        return not isinstance(answer, Unanswered) and self.target in answer.chain

    def way(self, answer: Answer) -> str:
        """The CNAMEs by which an answer led to us, in words."""
        names = (self.target,) if isinstance(answer, Unanswered) else answer.chain
        return ", ".join(
            f"CNAME {name}." for name in names[: names.index(self.target) + 1]
        )

    @property
    def mend(self) -> str:
        return f"publish {self.owner} CNAME {self.target}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Astray:
    """What is known of a name that did not lead to us. `cname`: the CNAME at the name,
    where records of another type answered; `serves_ours`: those are what our target
    holds; `addresses` are those of the name."""

    around: Around = NOTHING_AROUND
    cname: DnsName | None = None
    serves_ours: bool = False
    addresses: tuple[IpAddress, ...] = ()


def endless(alias: Alias, chain: tuple[DnsName, ...]) -> Finding:
    """The finding for a chain of CNAMEs that leads back or has no end in reach."""
    is_loop = len(set(chain)) < len(chain) or alias.owner in chain
    how = "leads back to itself" if is_loop else f"is over {len(chain) - 1} names long"
    return Finding(
        status=RecordStatus.WRONG,
        fault=Fault.ENDLESS_CHAIN,
        found=f"CNAME {chain[0]}.",
        cause=f"the chain of CNAMEs from {alias.owner} {how}: {' → '.join(chain[:3])} …",
        mend=f"replace it: {alias.mend}",
    )


def wrong_alias(alias: Alias, answer: Answer, seen: Astray) -> Finding:
    """The finding for an answer that did not pass through our name."""
    if isinstance(answer, Unanswered):
        return unknown(answer)
    if answer.chain:
        return _elsewhere(alias, answer, answer.chain[0], seen.around)
    if isinstance(answer, Found):
        return _own_records(alias, answer, seen)
    if seen.around.others:
        return _other_types(alias, answer, seen)
    found = misplaced(seen.around, alias.owner, alias.mend, answer)
    if found is not None:
        return found
    what = "does not exist" if isinstance(answer, NoName) else "has no CNAME"
    return Finding(
        status=RecordStatus.MISSING,
        fault=absent(answer),
        cause=f"{alias.owner} {what}",
        mend=alias.mend,
        ttl=answer.ttl,
    )


def _elsewhere(
    alias: Alias, answer: Found | NoData | NoName, target: DnsName, around: Around
) -> Finding:
    whose = stray(target, alias.target, alias.ours)
    finding = Finding(
        status=RecordStatus.WRONG,
        fault=whose.fault,
        found=f"CNAME {target}.",
        cause=f"{alias.owner} leads to {target}, {whose.words}",
        mend=f"replace it: {alias.mend}",
        ttl=answer.ttl,
    )
    if around.is_wildcard:
        return by_wildcard(finding, alias.owner, alias.mend)
    return finding


def _own_records(alias: Alias, answer: Found, seen: Astray) -> Finding:
    """Records of the type that we asked for, at the name itself."""
    if seen.cname is not None:
        return _conflict(alias, answer, f"CNAME {seen.cname}., {shown(answer)}")
    if seen.serves_ours:
        return Finding(
            status=RecordStatus.WRONG,
            fault=Fault.FLATTENED,
            found=shown(answer),
            cause=(
                f"{alias.owner} has records of its own instead of a CNAME: the DNS host"
                " flattens it, or it was copied, so it would not follow a key rotation"
            ),
            mend=f"switch off flattening, or remove what is there, {alias.mend}",
            ttl=answer.ttl,
        )
    wanted = alias.target
    is_typed_as_text = any(
        t.strip().rstrip(".").lower() == wanted for t in texts(answer)
    )
    how = ": its target was entered as text" if is_typed_as_text else ""
    finding = Finding(
        status=RecordStatus.WRONG,
        fault=Fault.WRONG_TYPE,
        found=shown(answer),
        cause=f"{alias.owner} has records of another type where a CNAME is wanted{how}",
        mend=f"remove what is there, {alias.mend}",
        ttl=answer.ttl,
    )
    if seen.around.is_wildcard:
        return by_wildcard(finding, alias.owner, alias.mend)
    return finding


def _other_types(alias: Alias, answer: NoData | NoName, seen: Astray) -> Finding:
    """Nothing of the type that we asked for, and something else."""
    if seen.around.is_wildcard:
        finding = Finding(
            status=RecordStatus.MISSING,
            found=", ".join(seen.around.others),
            ttl=answer.ttl,
        )
        return by_wildcard(finding, alias.owner, alias.mend)
    proxied = [a for a in seen.addresses if any(a in network for network in _PROXIES)]
    if not proxied:
        return _conflict(alias, answer, ", ".join(seen.around.others))
    return Finding(
        status=RecordStatus.WRONG,
        fault=Fault.PROXIED,
        found=", ".join(seen.around.others),
        cause=f"{alias.owner} answers with a proxy's addresses instead of our CNAME",
        mend=f"switch the proxy off for this name (DNS only): {alias.mend}",
        ttl=answer.ttl,
    )


def _conflict(alias: Alias, answer: Found | NoData | NoName, found: str) -> Finding:
    return Finding(
        status=RecordStatus.WRONG,
        fault=Fault.CONFLICT,
        found=found,
        cause=(
            f"{alias.owner} holds records of other types; a CNAME can't stand beside them"
            " (RFC 1034 §3.6.2)"
        ),
        mend=f"remove the others at that name, then {alias.mend}",
        ttl=answer.ttl,
    )
