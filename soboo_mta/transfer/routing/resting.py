"""A site's hosts in the order to try them: those that broke a while ago come last."""

from collections.abc import Sequence
from datetime import timedelta
from random import Random

from soboo_mta.identity.state import Source
from soboo_mta.ports import Clock, HopAddress
from soboo_mta.transfer.routing.finder import Site


class RestingHosts:
    """What one queue knows of its site's hosts; a host rests for `rest`."""

    def __init__(self, clock: Clock, random: Random, *, rest: timedelta) -> None:
        self._clock = clock
        self._random = random
        self._rest = rest.total_seconds()
        self._until: dict[HopAddress, float] = {}

    def rest(self, hop: HopAddress) -> None:
        """Try it last for a while."""
        self._until[hop] = self._clock.monotonic() + self._rest

    def in_order(self, site: Site, source: Source) -> Sequence[HopAddress]:
        """Return the addresses that the source can reach."""
        address, now = source.address, self._clock.monotonic()
        hops = [
            hop
            for hop in site.hops(self._random)
            if address is None or hop.address.version == address.version
        ]
        hops.sort(key=lambda hop: self._until.get(hop, 0.0) > now)
        return hops

    def have_another(self, site: Site, source: Source) -> bool:
        """Whether one does not rest: else the same would be asked again at once."""
        now = self._clock.monotonic()
        hops = self.in_order(site, source)
        return any(self._until.get(hop, 0.0) <= now for hop in hops)
