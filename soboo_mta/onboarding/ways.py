"""What DNS shows of a customer's own way out: its provider's keys, and SPF that names it.

Asks through the `Resolver` port, and has the server tried through `RelayProbe`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from soboo_mta.identity.plan import signing_key
from soboo_mta.identity.preflight.values import WaySeen
from soboo_mta.identity.preflight.ways import provider_of
from soboo_mta.identity.state import Algorithm, DomainState
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.way_out import MailboxProvider
from soboo_mta.onboarding.judging.judge import texts
from soboo_mta.onboarding.spf.tree import SpfNode
from soboo_mta.onboarding.spf.walk import spf_tree
from soboo_mta.ports import Found, IpAddress, Probed, RecordType, Resolver, Unanswered


@dataclass(frozen=True, slots=True)
class _Known:
    """What a provider asks its customers to publish: one of `selectors` signs."""

    selectors: tuple[str, ...]
    include: str


_KEY: Final = re.compile(r"(?:^|;)\s*p\s*=\s*[A-Za-z0-9+/]")  # one not revoked
# Google: "Set up DKIM" and "Set up SPF"; Microsoft: "Use DKIM to sign mail from your
# custom domain" and "Set up SPF": the providers' help pages.
_KNOWN: Final = {
    MailboxProvider.GOOGLE: _Known(("google",), "_spf.google.com"),
    MailboxProvider.MICROSOFT: _Known(
        ("selector1", "selector2"), "spf.protection.outlook.com"
    ),
}


async def see_way(
    state: DomainState,
    resolver: Resolver,
    *,
    address: IpAddress,
    probed: Probed | None = None,
) -> WaySeen | None:
    """Return what speaks for mail by the domain's own way out; None where it has none.

    `address` is any that SPF is walked for. Never raises for what DNS can say.
    """
    way, facts = state.settings.way_out, state.facts
    if way is None:
        return None
    usable = facts.usable if facts else ()
    ours = signing_key(state.settings.keys, Algorithm.RSA, usable) is not None
    known = _KNOWN.get(provider_of(way))
    if known is None:
        return WaySeen(signs=None, spf=None, is_silent=False, ours=ours, probed=probed)
    name = state.settings.name
    signs = await _has_key(name, known.selectors, resolver)
    tree = await spf_tree(name, resolver, address)
    spf = known.include in _included(tree)
    return WaySeen(
        signs=bool(signs),
        spf=spf,
        is_silent=signs is None or (tree.is_unanswered and not spf),
        ours=ours,
        probed=probed,
    )


async def _has_key(
    name: Domain, selectors: tuple[str, ...], resolver: Resolver
) -> bool | None:
    """Whether a key is under one of them; None: one gave no answer, the others none."""
    is_silent = False
    for selector in selectors:
        owner = f"{selector}._domainkey.{name}"
        answer = await resolver.lookup(owner, RecordType.TXT)
        is_silent |= isinstance(answer, Unanswered)
        if isinstance(answer, Found) and any(map(_KEY.search, texts(answer))):
            return True
    return None if is_silent else False


def _included(node: SpfNode) -> Iterator[str]:
    """The names that SPF takes its pass from, here and below."""
    for term in node.terms:
        if not term.is_reached or term.text[0] in "-~?":
            continue
        yield term.target
        if term.below is not None:
            yield from _included(term.below)
