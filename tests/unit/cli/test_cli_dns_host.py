"""Hints for the customer's DNS host, where a command shows what to publish."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.context import open_store
from soboo_mta.identity.state import Mode
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.writer import write_now
from soboo_mta.tenancy.domains import NewDomain
from soboo_mta.tenancy.signing.keys import add_domain, first_pairs

Run = Callable[..., str]


@pytest.fixture
def run(config: Path) -> Run:
    config.write_text(
        config.read_text() + '[http]\npublic_url = "https://mail.esp.example"\n'
    )

    def typed(*words: str) -> str:
        result = CliRunner(env={"COLUMNS": "200", "SOBOO_CONFIG": str(config)}).invoke(
            app, list(words)
        )
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        assert result.exit_code == 0, result.output
        return result.output

    typed("tenant", "add", "acme")
    typed("domain", "add", "news.customer.com", "--tenant", "acme")
    return typed


@pytest.fixture
def dns(config: Path, name_server: int) -> Path:
    """A name server that knows those of customer.com; the file of the zone."""
    config.write_text(
        config.read_text().replace("127.0.0.1:9", f"127.0.0.1:{name_server}")
    )
    zone = config.parent / "zones" / "customer.com.zone"
    zone.write_text(
        "$ORIGIN customer.com.\n$TTL 2\n@ SOA ns-1.awsdns-01.org. a.b. 1 2 2 2 2\n"
        "@ NS ns-1.awsdns-01.org.\n@ NS ns-2.awsdns-02.com.\n"
    )
    return zone


def test_the_table_begins_with_where_to_enter_it(run: Run, dns: Path) -> None:
    first, second, *_ = run("domain", "records", "news.customer.com").splitlines()
    assert first.startswith("the DNS of customer.com is at Amazon Route 53: console")
    assert second == "its form adds .customer.com to what is typed: leave that off"


def test_the_message_gives_names_as_the_form_wants_them(run: Run, dns: Path) -> None:
    text = run("domain", "records", "news.customer.com", "--format", "email")
    assert "- The DNS of customer.com is at Amazon Route 53:" in text
    assert "Name:  bounce.news.customer.com\nTyped: bounce.news\n" in text
    assert all(len(line) <= 78 for line in text.splitlines() if line[:1] in "- ")


def test_the_message_names_the_page_and_until_when_it_opens(run: Run) -> None:
    text = run("domain", "records", "news.customer.com", "--format", "email")
    page, last = text.splitlines()[-1], datetime.now(UTC) + timedelta(days=30)
    assert page.startswith("https://mail.esp.example/setup/")
    assert page.endswith(f" (until {last:%Y-%m-%d})")


def test_what_is_typed_stands_above_what_is_found(run: Run, dns: Path) -> None:
    words = ("domain", "records", "news.customer.com", "--dns-provider")
    assert "is at Gandi" in run(*words, "gandi")
    assert "is at" not in run(*words, "none")


def test_a_failing_look_up_costs_the_hint_alone(run: Run) -> None:
    text = run("domain", "records", "news.customer.com")
    assert "is at" not in text
    assert "bounce.news.customer.com" in text
    message = run("domain", "records", "news.customer.com", "--format", "email")
    assert "Typed:" not in message
    assert "Where to enter" not in message


def test_a_whole_domain_is_delegated_at_no_dns_host(
    config: Path, run: Run, dns: Path
) -> None:
    store = open_store(config)
    name = Domain("customer.com")
    new = NewDomain(tenant=TenantId("acme"), name=name, mode=Mode.ZONE, zone=name)
    pairs = first_pairs(new)
    write_now(store.engine, lambda at: add_domain(at, store.master, new, pairs, now=1))
    words = ("domain", "records", "customer.com")
    for more in ((), ("--dns-provider", "gandi")):
        text = run(*words, *more)
        assert "is at" not in text
        assert "at the registrar for a whole domain" in text
    assert "?" not in run("domain", "link", "customer.com")


def test_the_link_carries_the_dns_host_to_the_page(run: Run, dns: Path) -> None:
    assert run("domain", "link", "news.customer.com").endswith("?dns=route53\n")
    plain = run("domain", "link", "news.customer.com", "--dns-provider", "none")
    assert "?" not in plain


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("news.customer.com --dns-provider route66", "no DNS host 'route66'"),
        ("news.customer.com --format csv --dns-provider gandi", "table or email alone"),
        ("--all --dns-provider gandi", "say a DOMAIN alone"),
        ("--operator --dns-provider gandi", "say a DOMAIN alone"),
    ],
)
def test_a_dns_host_that_helps_nobody_is_refused(
    run: Run, words: str, said: str
) -> None:
    with pytest.raises(FormatError, match=said):
        run("domain", "records", *words.split())
