"""Which source a recipient's mail leaves from: pools, weights, and always the same one.

Pure. A recipient of a sending domain keeps its source from attempt to attempt and from
message to message, for greylisting remembers it (case 163); a source that is added or
paused moves its own share alone (rendezvous hashing).
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from hashlib import blake2b
from math import log

from soboo_mta.identity.state import Source
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.spooled import Claimed

DEFAULT_POOL = "default"
_FULL = 1 << 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Sources with their weights: shares of the pool's recipients."""

    name: str
    sources: tuple[tuple[Source, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """All pools by name (`default` is among them), and the sending domains that have one
    of their own."""

    by_name: Mapping[str, Pool]
    of_domain: Mapping[Domain, str] = field(default_factory=dict)

    @classmethod
    def of(cls, sources: Sequence[Source]) -> "Pools":
        """One pool of all sources, with equal weights."""
        pool = Pool(name=DEFAULT_POOL, sources=tuple((one, 1) for one in sources))
        return cls(by_name={DEFAULT_POOL: pool})

    @property
    def are_chosen(self) -> bool:
        """Whether it makes a difference what a tenant chose."""
        return len(self.by_name) > 1

    def choose(
        self,
        claimed: Claimed,
        chosen: str | None,
        *,
        families: Set[int],
        paused: Set[str],
    ) -> Source:
        """Return the source of a recipient whose tenant chose the pool `chosen`: of those
        that are not paused and reach one of the destination's address families (4, 6),
        where there are such."""
        author = claimed.message.author.domain
        pool = self.pool(author, chosen)
        if len(pool.sources) == 1:
            return pool.sources[0][0]
        fit = [one for one in pool.sources if _reaches(one[0], families)]
        fit = fit or list(pool.sources)
        ready = [one for one in fit if one[0].name not in paused] or fit
        if len(ready) == 1:
            return ready[0][0]
        to = claimed.recipient
        key = f"{author}\0{to.local_part.lower()}@{to.domain}\0".encode()
        return max(ready, key=lambda one: _score(key, one))[0]

    def pool(self, author: Domain, chosen: str | None) -> Pool:
        """Return the pool of a sending domain; one that is gone from the settings is the
        default one."""
        name = self.of_domain.get(author, chosen or DEFAULT_POOL)
        return self.by_name.get(name) or self.by_name[DEFAULT_POOL]


def _reaches(source: Source, families: Set[int]) -> bool:
    return source.address is None or source.address.version in families


def _score(key: bytes, one: tuple[Source, int]) -> float:
    source, weight = one
    digest = blake2b(key + source.name.encode(), digest_size=8).digest()
    return -weight / log((int.from_bytes(digest, "big") + 0.5) / _FULL)
