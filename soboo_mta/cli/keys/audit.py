"""`soboo-mta key audit`: strength, age, reuse and publication of each key."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    CliStore,
    ConfigPath,
    open_store,
    say,
    say_json,
)
from soboo_mta.identity.records import selector_owner
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.ids import KeyId
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.onboarding.watch.key_audit import (
    AuditedKey,
    AuditOptions,
    audit,
    title,
)
from soboo_mta.ports import Answer, RecordType
from soboo_mta.settings.options import resolver_options
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.signing.key_history import KeyHistory, key_histories
from soboo_mta.tenancy.signing.slots import DAY_MS, drain_ms

_AT_ONCE = 50  # questions to the resolver
_PUBLISHED = {None: "?", True: "yes", False: "no"}


def audit_keys(
    domain: Annotated[str | None, typer.Argument(metavar="[DOMAIN]")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    oldest: Annotated[
        int, typer.Option(min=1, max=3650, help="Days that a key may sign.")
    ] = 180,
    ask_dns: Annotated[
        bool, typer.Option("--dns/--no-dns", help="Whether DNS is asked.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Judge each key: size, exponent, age, reuse, publication, succession. Exit code 1
    where there is something to mend.

    Without DOMAIN all keys, the operator's too. A ? stands where DNS gave no answer.
    """
    store = open_store(config)
    name = None if domain is None else Domain.parse(domain)
    found = [
        one
        for one in _audited(store, name, ask_dns=ask_dns, oldest=oldest)
        if name is None or _is_of(one.history, name)
    ]
    if name is not None and not found:
        raise TenancyError(f"there are no keys of {name}: see `soboo-mta domain list`")
    now = store.clock.unix_ms()
    if as_json:
        say_json([_values(one, now) for one in found])
    else:
        say(_table(found, now))
    if any(one.findings for one in found):
        raise typer.Exit(FAULT)


def _audited(
    store: CliStore, name: Domain | None, *, ask_dns: bool, oldest: int
) -> Sequence[AuditedKey]:
    histories = read_now(store.engine, key_histories)
    asked = [
        one
        for one in histories
        if one.is_current and ask_dns and (name is None or _is_of(one, name))
    ]
    return audit(
        histories,
        asyncio.run(_answers(store, asked)),
        now=store.clock.unix_ms(),
        options=AuditOptions(
            oldest=timedelta(days=oldest),
            drain=drain_ms(store.settings.signing.signature_life),
        ),
    )


async def _answers(store: CliStore, asked: list[KeyHistory]) -> dict[KeyId, Answer]:
    resolver = DnsResolver(options=resolver_options(store.settings), clock=store.clock)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def ask(one: KeyHistory) -> Answer:
        async with turns:
            name = _name(one, store.operator.domain)
            return await resolver.lookup(name, RecordType.TXT, fresh=True)

    answers = await asyncio.gather(*(ask(one) for one in asked))
    return {one.key.key_id: answer for one, answer in zip(asked, answers, strict=True)}


def _name(one: KeyHistory, operator: Domain) -> DnsName:
    if one.settings is None:
        return DnsName(f"{one.key.selector}._domainkey.{operator}")
    return selector_owner(one.settings, one.key.selector)


def _is_of(one: KeyHistory, name: Domain) -> bool:
    return one.settings is not None and one.settings.name == name


def _table(found: Sequence[AuditedKey], now: int) -> Table | str:
    if not found:
        return "there are no keys: soboo-mta domain add makes them"
    table = Table(
        *("key", "domain", "selector", "state", "algorithm", "bits", "age", "in DNS"),
        "to mend",
    )
    for one in found:
        key = one.history.key
        table.add_row(
            str(key.key_id),
            title(one.history),
            key.selector,
            key.state,
            key.algorithm,
            str(one.bits),
            f"{_age(one, now)} d",
            _PUBLISHED[one.published],
            "\n".join(f"{each.sentence}; {each.mend}" for each in one.findings),
        )
    return table


def _values(one: AuditedKey, now: int) -> dict[str, object]:
    key = one.history.key
    return {
        "key": key.key_id,
        "domain": title(one.history),
        "selector": key.selector,
        "state": key.state,
        "algorithm": key.algorithm,
        "bits": one.bits,
        "age_days": _age(one, now),
        "published": one.published,
        "findings": [asdict(each) for each in one.findings],
    }


def _age(one: AuditedKey, now: int) -> int:
    """Days since it began to sign, or since it was made."""
    return (now - (one.history.activated_at or one.history.created_at)) // DAY_MS
