"""`soboo-mta domain spf`: what the SPF record of any name costs, as a tree."""

import asyncio
from typing import Annotated

import typer
from rich.tree import Tree

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    NO_ANSWER,
    ConfigPath,
    say,
    say_json,
)
from soboo_mta.identity.state import Source
from soboo_mta.mail.domain import DnsName
from soboo_mta.net.clock import SystemClock
from soboo_mta.net.dns.resolver import DnsResolver
from soboo_mta.onboarding.judging.judge import printable
from soboo_mta.onboarding.spf import SpfResults, spf_results
from soboo_mta.onboarding.spf.tree import (
    MAX_LOOKUPS,
    MAX_VOIDS,
    SpfBudget,
    SpfNode,
    SpfTerm,
)
from soboo_mta.onboarding.spf.walk import spf_budget
from soboo_mta.settings import load
from soboo_mta.settings.options import resolver_options


def spf(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Any name in DNS.")],
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show the SPF record of NAME as a tree: the look-ups of each term, what is wrong.

    Exit code 1 where receivers find an error in it, 3 where DNS gave no answer.
    """
    asked = DnsName.parse(name)
    settings = load(config)
    resolver = DnsResolver(options=resolver_options(settings), clock=SystemClock())
    sources = settings.identity().sources
    budget, results = asyncio.run(_look(asked, resolver, sources))
    if as_json:
        say_json(budget_values(asked, budget, results))
    else:
        _show(asked, budget, results)
    if budget.faults:
        raise typer.Exit(FAULT)
    if budget.is_unanswered:
        raise typer.Exit(NO_ANSWER)


async def _look(
    name: DnsName, resolver: DnsResolver, sources: tuple[Source, ...]
) -> tuple[SpfBudget, SpfResults]:
    return (
        await spf_budget(name, resolver),
        await spf_results(name, sources, resolver),
    )


def _show(name: DnsName, budget: SpfBudget, results: SpfResults) -> None:
    say(budget_tree(budget.v4))
    say(
        f"{name}: {budget.lookups} of {MAX_LOOKUPS} look-ups,"
        f" {budget.voids} of {MAX_VOIDS} void"
    )
    if budget.v6.total_voids != budget.v4.total_voids:
        say(
            f"void for IPv4 clients: {budget.v4.total_voids};"
            f" for IPv6 clients: {budget.v6.total_voids}"
        )
    for fault in budget.faults:
        say(f"error: {printable(fault)}")
    for remark in budget.remarks:
        say(f"unwise: {printable(remark)}")
    if budget.is_unanswered:
        say("DNS gave no answer to some of it: the totals may be higher")
    for source, result in results.results:
        say(f"from our source {source}: {result}")


def budget_tree(node: SpfNode) -> Tree:
    """Return a record and all below it, each term with what it costs."""
    return _grown(Tree(_node_line(node)), node)


def _grown(tree: Tree, node: SpfNode) -> Tree:
    for term in node.terms:
        branch = tree.add(_term_line(term))
        if term.below:
            branch.add(_node_line(term.below))
            _grown(branch.children[-1], term.below)
    return tree


def _node_line(node: SpfNode) -> str:
    if node.is_unanswered:
        return f"{printable(node.name)}: no answer from DNS"
    if not node.records:
        return printable(f"{node.name}: no SPF record") + _void(node.voids)
    return printable(f"{node.name}: {' | '.join(node.records)}")


def _term_line(term: SpfTerm) -> str:
    line = printable(term.text)
    if not term.is_reached:
        return f"{line} (never reached)"
    if term.total_lookups:
        many = "look-up" if term.total_lookups == 1 else "look-ups"
        line += f" ({term.total_lookups} {many})"
    if term.is_unanswered:
        line += " no answer"
    return line + _void(term.voids) + (f" !! {term.fault}" if term.fault else "")


def _void(voids: int) -> str:
    return f" {voids} void" if voids else ""


# ---- JSON


def budget_values(
    name: DnsName, budget: SpfBudget, results: SpfResults
) -> dict[str, object]:
    """Return a budget as JSON shows it."""
    return {
        "name": name,
        "lookups": budget.lookups,
        "max_lookups": MAX_LOOKUPS,
        "voids": budget.voids,
        "max_voids": MAX_VOIDS,
        "faults": list(budget.faults),
        "remarks": list(budget.remarks),
        "answered": not budget.is_unanswered,
        "sources": dict(results.results),
        "tree": _node_values(budget.v4),
        "voids_ipv4": budget.v4.total_voids,
        "voids_ipv6": budget.v6.total_voids,
    }


def _node_values(node: SpfNode) -> dict[str, object]:
    return {
        "name": node.name,
        "records": list(node.records),
        "lookups": node.lookups,
        "voids": node.total_voids,
        "fault": node.fault,
        "answered": not node.is_unanswered,
        "terms": [
            {
                "text": term.text,
                "target": term.target,
                "lookups": term.total_lookups,
                "voids": term.total_voids,
                "fault": term.fault,
                "remark": term.remark,
                "reached": term.is_reached,
                "answered": not term.is_unanswered,
                "record": _node_values(term.below) if term.below else None,
            }
            for term in node.terms
        ],
    }
