"""What one worker has in memory, counted and bounded; no tenant may fill it alone."""

from collections import Counter

from soboo_mta.mail.ids import TenantId
from soboo_mta.mail.spooled import SpooledMessage


class Holdings:
    """Recipients and octets of content claimed by this process and not settled yet.

    A message to several recipients counts its octets for each: a bound, not a measure.
    """

    def __init__(self, *, recipients: int, octets: int, tenant_share: float) -> None:
        self._most_recipients = recipients
        self._most_octets = octets
        self._share = recipients * tenant_share
        self._octets = 0
        self._by_tenant: Counter[TenantId] = Counter()
        self.recipients = 0

    def take(self, message: SpooledMessage) -> None:
        """Count one recipient of `message`."""
        self.recipients += 1
        self._octets += message.size
        self._by_tenant[message.tenant] += 1

    def let_go(self, message: SpooledMessage) -> None:
        """Count it no more."""
        self.recipients -= 1
        self._octets -= message.size
        self._by_tenant[message.tenant] -= 1
        if not self._by_tenant[message.tenant]:
            del self._by_tenant[message.tenant]

    @property
    def room(self) -> int:
        """How many more recipients fit; 0 where there are octets enough."""
        if self._octets >= self._most_octets:
            return 0
        return max(0, self._most_recipients - self.recipients)

    def fits(self, octets: int) -> bool:
        """Whether a message of so many octets does."""
        return self.room > 0 and self._octets + octets <= self._most_octets

    def has_its_share(self, tenant: TenantId) -> bool:
        """Whether the rest of the memory is for others."""
        return self._by_tenant.get(tenant, 0) >= self._share

    def tenants_with_their_share(self) -> frozenset[str]:
        return frozenset(
            str(tenant)
            for tenant, count in self._by_tenant.items()
            if count >= self._share
        )
