"""`soboo-mta zone`: what is shown, checked and published, by zone files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.context import open_store
from soboo_mta.mail.errors import FormatError
from soboo_mta.settings import SettingsError
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.domains import released_zones
from soboo_mta.tenancy.domains.zones import every_own_record

Run = Callable[..., str]
_PUBLISH = """
[publish]
directory = "zones"
reload = ["true"]
name_servers = ["8.8.8.8", "8.8.4.4"]
"""


@pytest.fixture
def run(config: Path) -> Run:
    config.write_text(config.read_text() + _PUBLISH)
    (config.parent / "zones").mkdir()

    def typed(*words: str, code: int = 0) -> str:
        result = CliRunner(env={"COLUMNS": "200", "SOBOO_CONFIG": str(config)}).invoke(
            app, list(words)
        )
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        assert result.exit_code == code, result.output
        return result.output

    typed("tenant", "add", "acme")
    typed("domain", "add", "customer.com", "--tenant", "acme", "--mode", "zone")
    return typed


def test_zones_are_listed_with_their_owners(run: Run) -> None:
    listed = run("zone", "list")

    assert "em.customer.com" in listed
    assert "acme" in listed
    assert "your own" in listed


def test_a_zone_is_shown_as_a_zone_file_has_it(run: Run) -> None:
    shown = run("zone", "show", "EM.customer.com.").splitlines()

    text = '_dmarc.em.customer.com. 300 IN TXT "v=DMARC1; p=reject"'
    assert text in shown
    assert "em.customer.com. 300 IN MX 10 mx.esp.example." in shown


def test_a_zone_that_is_not_signed_has_no_ds(run: Run) -> None:
    run("zone", "publish")

    assert "no key was found" in run("zone", "show", "esp.example", "--ds", code=1)


def test_a_zone_that_there_is_not_is_said(run: Run) -> None:
    with pytest.raises(FormatError, match=r"there is no zone other\.example"):
        run("zone", "show", "other.example")


def test_what_is_published_is_found_good_and_drift_is_not(
    run: Run, config: Path
) -> None:
    assert "_spf.esp.example TXT is missing" in run("zone", "check", code=1)
    published = run("zone", "publish")
    assert "esp.example: published" in published
    assert "em.customer.com: waits" in published  # its parent says nothing
    assert "as it is to be" in run("zone", "check", "esp.example")

    file = config.parent / "zones" / "esp.example.records"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(one for one in lines if not one.startswith("_spf.")))
    drift = run("zone", "check", "esp.example", code=1)
    assert "_spf.esp.example TXT is missing" in drift
    assert "esp.example: published, 1 changes" in run("zone", "publish")


def test_a_reload_that_fails_is_a_trouble(run: Run, config: Path) -> None:
    text = config.read_text().replace('["true"]', '["false"]')
    config.write_text(text)

    assert "false: exit code 1: it says nothing" in run("zone", "publish", code=1)


def test_without_the_section_it_is_said_what_is_missing(run: Run, config: Path) -> None:
    config.write_text(config.read_text().partition("[publish]")[0])

    with pytest.raises(SettingsError, match="names no name server"):
        run("zone", "check")


def test_a_key_file_without_a_secret_is_said(run: Run, config: Path) -> None:
    head = config.read_text().partition("[publish]")[0]
    config.write_text(
        f'{head}[publish]\nserver = "127.0.0.1:9"\nkey_name = "soboo"\n'
        'key_file = "none.key"\nname_servers = ["8.8.8.8"]\n'
    )

    with pytest.raises(SettingsError, match="holds no secret"):
        run("zone", "publish")


def test_the_zone_of_a_released_domain_goes(run: Run, config: Path) -> None:
    left = _left_zone(config)
    store = open_store(config)
    assert read_now(store.engine, released_zones) == ()

    run("domain", "release", "customer.com", "--yes")
    assert read_now(store.engine, released_zones) == ("em.customer.com",)
    run("zone", "publish")
    assert not left.exists()
    assert "em.customer.com" not in run("zone", "list")


def test_a_customers_own_record_is_added_published_and_removed(run: Run) -> None:
    www = ("customer.com", "www.em.customer.com", "cname", "pages.example")
    added = run("zone", "record", "add", *www)
    assert added == "added: www.em.customer.com. 3600 IN CNAME pages.example.\n"
    shown = run("zone", "show", "em.customer.com").splitlines()
    assert "www.em.customer.com. 3600 IN CNAME pages.example." in shown
    assert "pages.example." in run("zone", "record", "list", "customer.com")
    with pytest.raises(TenancyError, match="is there already"):
        run("zone", "record", "add", *www)
    with pytest.raises(FormatError, match="a CNAME stands alone"):
        run("zone", "record", "add", *www[:2], "A", "192.0.2.9")

    removed = run("zone", "record", "remove", *www)
    assert removed == "removed: www.em.customer.com CNAME pages.example.\n"
    assert "no records of its owner's own" in run(
        "zone", "record", "list", "customer.com"
    )
    with pytest.raises(TenancyError, match="there is no record www"):
        run("zone", "record", "remove", *www)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("www.customer.com", "A", "192.0.2.9"), "does not lie in the zone"),
        (("@", "NS", "ns.example"), "is one of A, AAAA"),
        (("sb3._domainkey.em.customer.com", "TXT", "x"), "the name is ours"),
        (("@", "A", "192.0.2"), "is not an IPv4 address"),
    ],
)
def test_an_own_record_that_does_not_fit_is_refused_and_not_kept(
    run: Run, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(FormatError, match=said):
        run("zone", "record", "add", "customer.com", *words)
    assert "no records" in run("zone", "record", "list", "customer.com")


def test_a_domain_without_a_zone_has_no_own_records(run: Run) -> None:
    run("domain", "add", "other.example", "--tenant", "acme")
    with pytest.raises(TenancyError, match=r"other\.example is in mode cname"):
        run("zone", "record", "add", "other.example", "@", "A", "192.0.2.9")


def test_own_records_go_with_their_domain(run: Run, config: Path) -> None:
    run("zone", "record", "add", "customer.com", "@", "A", "192.0.2.9")
    run("domain", "release", "customer.com", "--yes")

    assert read_now(open_store(config).engine, every_own_record) == {}


def test_the_dmarc_record_of_a_zone_is_changed_where_it_is_the_from_domain(
    run: Run,
) -> None:
    words = ("domain", "add", "news.example", "--tenant", "acme", "--mode", "zone")
    added = run(*words, "--zone", "news.example")
    assert "every other record of news.example ends with the delegation" in added
    assert "DMARC1" not in run("zone", "show", "news.example")  # not read yet
    said = run("zone", "dmarc", "news.example", "v=DMARC1; p=reject; psd=n")
    assert said == "_dmarc.news.example says: v=DMARC1; p=reject\n"
    assert '"v=DMARC1; p=reject"' in run("zone", "show", "news.example")

    with pytest.raises(FormatError, match="is no DMARC record"):
        run("zone", "dmarc", "news.example", "p=reject")
    with pytest.raises(TenancyError, match=r"lies below customer\.com"):
        run("zone", "dmarc", "customer.com", "v=DMARC1; p=none")


def test_the_policy_file_is_printed_once_a_host_serves_it(
    run: Run, config: Path
) -> None:
    with pytest.raises(FormatError, match=r"set \[publish\] mta_sts_hosts"):
        run("zone", "mta-sts")
    hosts = 'mta_sts_hosts = ["8.8.8.80"]\nmta_sts_mode = "enforce"\n'
    config.write_text(config.read_text() + hosts)
    assert run("zone", "mta-sts").splitlines()[:3] == [
        "version: STSv1",
        "mode: enforce",
        "mx: mx.esp.example",
    ]
    shown = run("zone", "show", "em.customer.com")
    assert "mta-sts.bounce.em.customer.com. 300 IN A 8.8.8.80" in shown


def test_the_zone_of_a_released_domain_goes_whoever_names_it_now(
    run: Run, config: Path
) -> None:
    left = _left_zone(config)
    run("domain", "release", "customer.com", "--yes")
    run("tenant", "add", "other")
    run("domain", "add", "customer.com", "--tenant", "other", "--mode", "zone")

    run("zone", "publish")
    assert not left.exists()


def _left_zone(config: Path) -> Path:
    """The zone as it is served for a tenant of before."""
    left = config.parent / "zones" / "em.customer.com.zone"
    left.write_text(
        "em.customer.com. 300 IN SOA a. b. 1 1 1 1 1\n"
        "em.customer.com. 300 IN NS ns1.tok7.n.esp.example.\n"
    )
    return left
