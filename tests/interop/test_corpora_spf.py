"""The zones of the SPF test suite (openspf.org, for RFC 7208): every record is walked to its
end, whatever it holds, and costs what the evaluator says.
"""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import spftrace
import yaml

from soboo_mta.formats.authentication.spf import Door
from soboo_mta.onboarding.spf.walk import MAX_WALKED, spf_budget, spf_tree
from tests.fakes.dns import FakeResolver

_TYPES = ("A", "AAAA", "MX", "PTR", "CNAME", "TXT")


def _scenarios(corpora: Path) -> list[dict[str, Any]]:
    text = (corpora / "spf" / "rfc7208-tests.yml").read_text(encoding="utf-8")
    return [one for one in yaml.safe_load_all(text) if one]


def _zone(scenario: dict[str, Any]) -> FakeResolver:
    """The suite's zone data; what it calls SPF stands for TXT where no TXT is given."""
    dns = FakeResolver()
    for owner, records in scenario["zonedata"].items():
        if "TIMEOUT" in records:
            dns.silent.add(owner.lower().removesuffix("."))
        given = [one for one in records if isinstance(one, dict)]
        has_txt = any("TXT" in one for one in given)
        for one in given:
            for kind, value in one.items():
                if kind == "SPF" and not has_txt:
                    dns.add(owner, "TXT", _text(value))
                elif kind == "MX":
                    dns.add(owner, kind, f"{value[0]} {value[1] or '.'}")
                elif kind == "TXT" and value != "NONE":
                    dns.add(owner, kind, _text(value))
                elif kind in _TYPES and kind != "TXT":
                    dns.add(owner, kind, value)
    return dns


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


async def test_every_record_of_the_suite_is_walked_and_costs_the_same(
    corpora: Path, figures: list[str]
) -> None:
    walked = compared = 0
    for scenario in _scenarios(corpora):
        dns = _zone(scenario)
        for name in scenario["zonedata"]:
            budget = await spf_budget(name, dns)
            walked += 1
            if (budget.faults and budget.lookups <= 10) or budget.is_unanswered:
                continue  # the evaluator stops there
            for client in ("0.0.0.0", "::"):
                tree = await spf_tree(name, dns, ip_address(client))
                limits = spftrace.Limits(audit=True, max_queries=None)
                evaluated = await spftrace.Evaluator(Door(dns), limits).evaluate(
                    client, f"postmaster@{name}", name
                )
                reasons = [event.get("reason") for event in evaluated.trace.to_list()]
                if evaluated.result == "permerror" and any(reasons):
                    continue
                if tree.lookups > MAX_WALKED or "%{p" in str(tree):
                    continue
                told = (tree.lookups, tree.total_voids)
                wanted = (evaluated.dns_terms_used, evaluated.void_lookups_used)
                assert told == wanted, (scenario["description"], name, client, tree)
                compared += 1
    figures.append(f"SPF suite: {walked} records walked, {compared} totals compared")
    assert walked > 200
    assert compared > 200
