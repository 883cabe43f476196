"""A DNS host, and what one meets in the form in which it takes records. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from soboo_mta.mail.domain import Domain


class HostNames(StrEnum):
    """How a form wants the name of a record."""

    RELATIVE = "relative"  # it adds the zone's name itself
    FULL = "full"
    EITHER = "either"


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsProvider:
    """A company that serves zones, by `key`: lower-case letters, digits and hyphens.

    `servers` are patterns of its name servers' names (`*` for any characters); `path` is
    where records are entered, in words; `takes_ns` whether its form is known to take NS
    below the apex; `aliases` what may become of a CNAME or its value
    and how to prevent that, `texts` how a TXT is typed, each "" where nothing is to mind.
    """

    key: str
    name: str
    servers: tuple[str, ...]
    path: str
    host_names: HostNames = HostNames.RELATIVE
    takes_ns: bool = False
    aliases: str = ""
    texts: str = ""

    def advice(
        self, *, zone: Domain | None = None, with_ns: bool = False
    ) -> tuple[str, ...]:
        """Return what to do there, a sentence each, without its full stop. `zone` is the
        name that the form adds, where known; `with_ns`: NS are among the records."""
        whose = "the DNS" if zone is None else f"the DNS of {zone}"
        found = [f"{whose} is at {self.name}: {self.path}"]
        if self.host_names is HostNames.RELATIVE:
            ending = "the zone's name" if zone is None else f".{zone}"
            found.append(f"its form adds {ending} to what is typed: leave that off")
        elif self.host_names is HostNames.FULL:
            found.append("its form takes names in full")
        found += [one for one in (self.aliases, self.texts) if one]
        if with_ns and not self.takes_ns:
            found.append(
                "whether its form takes NS records below the domain is not known: where it"
                " does not, ask for mode cname"
            )
        return tuple(found)

    def typed_name(self, owner: str, zone: Domain) -> str:
        """Return a record's name as the form wants it; `@` is the zone itself."""
        if self.host_names is not HostNames.RELATIVE:
            return owner
        return "@" if owner == zone else owner.removesuffix(f".{zone}")
