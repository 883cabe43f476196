"""May a customer's domain be set up by one click, and at which address?

Steps: the zone that holds it, its DNS host's settings, our template there, a signing key
that DNS shows, and whether our DMARC record may be among what is applied.
"""

from dataclasses import dataclass

from soboo_mta.identity.dmarc import Suffixes, names_to_ask_by_suffix
from soboo_mta.identity.state import DomainSettings, Operator
from soboo_mta.mail.domain import Domain
from soboo_mta.onboarding.connect.apply import apply_url
from soboo_mta.onboarding.connect.discovery import (
    ConnectHost,
    NoAnswer,
    NotOffered,
    discover,
    has_template,
)
from soboo_mta.onboarding.connect.keys import ConnectKey, published
from soboo_mta.onboarding.connect.template import (
    DMARC_GROUP,
    groups,
    key_domain,
    labels_of,
    service_id,
)
from soboo_mta.onboarding.providers.recognition import zone_of
from soboo_mta.ports import Found, HttpClient, RecordType, Resolver, Unanswered


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A domain that can be set up by one click, at `url`; `left_out` are groups of the
    template that are not applied."""

    host: ConnectHost
    url: str
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """What an offer is made from: the operator, its keys (newest first) and the doors."""

    operator: Operator
    keys: tuple[ConnectKey, ...]
    resolver: Resolver
    http: HttpClient
    suffixes: Suffixes

    async def offer(self, settings: DomainSettings) -> Offer | NotOffered | NoAnswer:
        """Return how `settings` is set up by one click, or why it is not.

        Raises FormatError for a domain that no template can hold.
        """
        labels = labels_of(settings)
        zone = await zone_of(settings.name, self.resolver)
        if isinstance(zone, Unanswered):
            return NoAnswer(zone.cause)
        host = await self._host(zone.apex, service_id(labels))
        if not isinstance(host, ConnectHost):
            return host
        key = await self._key()
        if not isinstance(key, ConnectKey):
            return key
        every = groups(self.operator, labels)
        left_out = () if await self._lacks_dmarc(settings.name) else (DMARC_GROUP,)
        url = apply_url(
            host.sync_url,
            settings,
            self.operator,
            apex=zone.apex,
            groups=[one for one in every if one not in left_out],
            key=key,
        )
        return Offer(host=host, url=url, left_out=left_out)

    async def _host(
        self, apex: Domain, service: str
    ) -> ConnectHost | NotOffered | NoAnswer:
        host = await discover(apex, self.resolver, self.http)
        if not isinstance(host, ConnectHost):
            return host
        if not host.sync_url:
            return NotOffered(f"{host.name} has no flow by link (urlSyncUX)")
        has = await has_template(host, self.operator, service, self.http)
        if isinstance(has, NoAnswer):
            return has
        if not has:
            return NotOffered(
                f"{host.name} does Domain Connect, but has no template"
                f" {self.operator.domain} {service}"
            )
        return host

    async def _key(self) -> ConnectKey | NotOffered | NoAnswer:
        key = await published(self.keys, key_domain(self.operator), self.resolver)
        if isinstance(key, Unanswered):
            return NoAnswer(key.cause)
        if key is None:
            return NotOffered(
                "no signing key is in DNS as `soboo-mta connect keys` shows it"
            )
        return key

    async def _lacks_dmarc(self, name: Domain) -> bool:
        """Whether no DMARC record applies, for sure: a DNS host may put ours in the place
        of the customer's, and no policy is to be weakened."""
        for asked in names_to_ask_by_suffix(name, self.suffixes):
            answer = await self.resolver.lookup(asked, RecordType.TXT, fresh=True)
            if isinstance(answer, Unanswered | Found):
                return False
        return True
