"""SPF of one domain for each of our sources (RFC 7208)."""

from collections.abc import Iterable
from dataclasses import dataclass

from soboo_mta.formats.authentication.results import Result
from soboo_mta.formats.authentication.spf import spf_result
from soboo_mta.identity.state import Source
from soboo_mta.mail.domain import DnsName
from soboo_mta.ports import Resolver


@dataclass(frozen=True, slots=True)
class SpfResults:
    """Source name → RFC 7208 §2.6 result ("pass", "fail", "permerror", …)."""

    results: tuple[tuple[str, Result], ...]

    @property
    def passing(self) -> tuple[str, ...]:
        return tuple(name for name, result in self.results if result is Result.PASS)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The sources whose result rests on no answer."""
        return tuple(
            name for name, result in self.results if result is Result.TEMPERROR
        )

    @property
    def others(self) -> str:
        """The sources that do not pass, in words."""
        return ", ".join(
            f"{n}: {result}" for n, result in self.results if result is not Result.PASS
        )


async def spf_results(
    domain: DnsName, sources: Iterable[Source], resolver: Resolver
) -> SpfResults:
    """Evaluate SPF of `domain` as reverse-path domain for each source."""
    results = []
    for source in sources:
        result = await spf_result(
            source.public_address,
            sender=f"postmaster@{domain}",
            helo=source.ehlo_name,
            resolver=resolver,
        )
        results.append((source.name, result))
    return SpfResults(tuple(results))
