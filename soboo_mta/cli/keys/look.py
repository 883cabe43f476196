"""`soboo-mta key list`: the keys there are, and what a rotation waits for."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import Connection

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    CliStore,
    ConfigPath,
    open_store,
    say,
    say_json,
)
from soboo_mta.cli.keys.words import is_seen
from soboo_mta.identity.state import PublicKey
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import DomainId, KeyId
from soboo_mta.net.dns.resolver import each_resolver
from soboo_mta.onboarding.watch.rotation import Readiness
from soboo_mta.settings.options import resolver_options
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.domains import list_domains
from soboo_mta.tenancy.signing.keys import operator_keys
from soboo_mta.tenancy.signing.rotation import RotationDue, rotations_due

_MOST_ASKED = 50  # rotations that are due, for which DNS is asked
_SEEN = {None: "", True: "yes", False: "no"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    title: str
    key: PublicKey
    seen: bool | None = None  # None: nobody looks
    waits_for: str = ""

    def as_values(self) -> dict[str, object]:
        return {
            "key": self.key.key_id,
            "domain": self.title,
            "selector": self.key.selector,
            "algorithm": self.key.algorithm,
            "state": self.key.state,
            "p": self.key.p,
            "seen_in_dns": self.seen,
            "waits_for": self.waits_for,
        }


def list_keys(
    domain: Annotated[str | None, typer.Argument(metavar="[DOMAIN]")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List the keys of a domain, or all; the operator's own are under (operator).

    Where a rotation is due, every resolver is asked what it still waits for.
    """
    store = open_store(config)
    name = None if domain is None else Domain.parse(domain)
    lines = _lines(store, name)
    if as_json:
        say_json([line.as_values() for line in lines])
        return
    table = Table(
        "key", "domain", "selector", "algorithm", "state", "seen in DNS", "waits for"
    )
    for line in lines:
        table.add_row(
            str(line.key.key_id),
            line.title,
            line.key.selector,
            line.key.algorithm,
            line.key.state,
            _SEEN[line.seen],
            line.waits_for,
        )
    say(table if lines else "there are no keys: soboo-mta domain add makes them")


def _lines(store: CliStore, name: Domain | None) -> list[_Line]:
    views = read_now(
        store.engine, lambda connection: list_domains(connection, name=name)
    )
    if name is not None and not views:
        raise TenancyError(
            f"there is no sending domain {name}: see `soboo-mta domain list`"
        )
    own = read_now(store.engine, operator_keys) if name is None else ()
    due = _due(store, {view.settings.domain_id for view in views})
    waits = asyncio.run(_waits(store, due))
    return [
        *(_Line(title="(operator)", key=key) for key in own),
        *(
            _Line(
                title=f"{view.settings.name} ({view.settings.tenant})",
                key=key,
                seen=is_seen(view, key),
                waits_for=waits.get(key.key_id, ""),
            )
            for view in views
            for key in view.settings.keys
        ),
    ]


def _due(store: CliStore, shown: set[DomainId]) -> list[RotationDue]:
    now, every_days = store.clock.unix_ms(), store.settings.signing.rotate_days

    def read(connection: Connection) -> tuple[RotationDue, ...]:
        return rotations_due(
            connection, now=now, every_days=every_days, limit=10 * _MOST_ASKED
        )

    found = read_now(store.engine, read)
    of_these = [one for one in found if one.state.settings.domain_id in shown]
    return of_these[:_MOST_ASKED]


async def _waits(store: CliStore, due: list[RotationDue]) -> dict[KeyId, str]:
    """What stands between each next key and its signing; between the active one and
    retirement where there is no next one."""
    readiness = Readiness(each_resolver(resolver_options(store.settings), store.clock))
    words = await asyncio.gather(*(readiness.waits_for(one) for one in due))
    return {
        (one.ready or one.active).key_id: text
        or "the relay's next look: [signing] look_every"
        for one, text in zip(due, words, strict=True)
    }
