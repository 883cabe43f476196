"""Which sites share limits: provider groups over the names of MX hosts. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

_SECOND = timedelta(seconds=1)
_UNITS = {_SECOND: "s", 60 * _SECOND: "m", 3_600 * _SECOND: "h"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `count` transactions in each `per`, evenly spread."""

    count: int
    per: timedelta

    def __str__(self) -> str:
        """As the settings write it: "60/m"."""
        return f"{self.count}/{_UNITS[self.per]}"

    @property
    def interval(self) -> timedelta:
        """Between the beginnings of two transactions."""
        return self.per / self.count

    @property
    def at_once(self) -> int:
        """What a worker leases at once: a second's worth, one at least."""
        return max(1, self.count * _SECOND // self.per)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLimits:
    """`key` is what the limits are counted under; None: as set for every site."""

    key: str
    connections: int | None = None
    rate: Rate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A provider: sites all of whose hosts are below one of `suffixes`."""

    name: str
    suffixes: tuple[str, ...]
    connections: int | None = None
    rate: Rate | None = None

    def has(self, hosts: Iterable[str]) -> bool:
        dotted = tuple("." + suffix for suffix in self.suffixes)
        return all(("." + host).endswith(dotted) for host in hosts)


def limits_of(
    hosts: Sequence[str], site: str, groups: Iterable[Group], rate: Rate | None
) -> SiteLimits:
    """Return the limits of the first group that has all `hosts`, else those of the site by
    itself with the common `rate`."""
    for group in groups:
        if group.has(hosts):
            return SiteLimits(
                key=f"group {group.name}",
                connections=group.connections,
                rate=group.rate or rate,
            )
    return SiteLimits(key=site, rate=rate)
