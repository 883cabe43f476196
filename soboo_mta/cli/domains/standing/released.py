"""Released domains, and which of their names still lead to us, as a table and as JSON."""

from collections.abc import Iterable

from rich.table import Table

from soboo_mta.cli.queue.words import moment
from soboo_mta.identity.standing import Standing
from soboo_mta.tenancy.domains import ReleasedDomain


def released_table(domains: Iterable[ReleasedDomain]) -> Table:
    """Return released domains with what is known of the names that led to us."""
    table = Table("domain", "tenant", "released", show_lines=True)
    table.add_column("left behind", overflow="fold")
    table.add_column("next look")
    for one in domains:
        table.add_row(
            one.settings.name,
            one.settings.tenant,
            moment(one.released_at),
            _left(one),
            "none" if one.next_look_at is None else moment(one.next_look_at),
        )
    return table


def released_values(domain: ReleasedDomain) -> dict[str, object]:
    """Return a released domain as JSON shows it; times are unix ms."""
    settings = domain.settings
    return {
        "name": settings.name,
        "tenant": settings.tenant,
        "mode": settings.mode,
        "token": settings.token,
        "state": Standing.RELEASED,
        "released_at": domain.released_at,
        "clean_looks": domain.clean_looks,
        "next_look_at": domain.next_look_at,
        "left": [
            {
                "name": one.name.owner,
                "type": one.name.kind,
                "target": one.target,
                "since": one.since,
                "seen_at": one.seen_at,
            }
            for one in domain.left
        ],
    }


def _left(domain: ReleasedDomain) -> str:
    if domain.left:
        return "\n".join(
            f"still dangling: {one.name.owner} → {one.target}; last seen"
            f" {moment(one.seen_at)}"
            for one in domain.left
        )
    if domain.next_look_at is None:
        return "nothing leads to us"
    if domain.clean_looks:
        return f"nothing leads to us, at {domain.clean_looks} looks"
    return "not known yet"
