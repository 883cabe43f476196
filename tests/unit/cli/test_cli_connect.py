"""`soboo-mta connect` as an operator types it, against a name server and a DNS host."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from typer.testing import CliRunner, Result

from soboo_mta.cli.app import app
from soboo_mta.mail.errors import FormatError
from soboo_mta.tenancy.secrets import SecretError
from soboo_mta.tenancy.setup_link import SetupLinks
from tests.fakes.site import Site
from tests.fakes.tenancy import MASTER

Run = Callable[..., Result]
HOST = "dc.provider.example"
SERVICE = "/v2/domainTemplates/providers/esp.example/services/soboo-cname"


@pytest.fixture
def run(config: Path) -> Run:
    def typed(*words: str, code: int = 0) -> Result:
        result = CliRunner(env={"COLUMNS": "200", "SOBOO_CONFIG": str(config)}).invoke(
            app, list(words)
        )
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        assert result.exit_code == code, result.output
        return result

    typed("tenant", "add", "acme")
    typed("domain", "add", "customer.com", "--tenant", "acme")
    config.write_text(  # from here on somebody may answer
        config.read_text().replace("100ms", "2s")
        + '[delivery]\nprivate_destinations = true\n[http]\npublic_url = "https://m.esp.example"\n'
    )
    return typed


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A DNS host over TLS in a thread: each command has a loop of its own."""
    made, loop, stack = Site(), asyncio.new_event_loop(), AsyncExitStack()
    made.authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    opening = stack.enter_async_context(made.open(HOST))
    asyncio.run_coroutine_threadsafe(opening, loop).result(10)
    url = f"https://{HOST}:{made.port}"
    values = {
        "providerId": "provider.example",
        "providerName": "The Provider",
        "urlSyncUX": f"{url}/ux",
        "urlAPI": url,
        "urlControlPanel": f"{url}/edit",
    }
    made.page("/v2/customer.com/settings", json.dumps(values).encode())
    made.page(SERVICE, b"{}")
    yield made
    asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def zones(config: Path, name_server: int, run: Run, site: Site) -> Path:
    """The zones of the customer, of its DNS host and of the operator."""
    text = config.read_text().replace("127.0.0.1:9", f"127.0.0.1:{name_server}")
    config.write_text(text)
    found = config.parent / "zones"
    write(found, "customer.com", f'_domainconnect TXT "{HOST}:{site.port}"')
    write(found, "provider.example", "dc A 127.0.0.1")
    write(found, "esp.example")
    return found


def write(zones: Path, origin: str, *lines: str) -> None:
    head = (
        f"$ORIGIN {origin}.\n$TTL 1\n@ SOA ns.provider.example. a.b. 1 1 1 1 1\n"
        "@ NS ns1.linode.com.\n"
    )
    fresh = zones / f"{origin}.new"
    fresh.write_text(head + "".join(f"{line}\n" for line in lines))
    fresh.replace(zones / f"{origin}.zone")


def publish_key(run: Run, zones: Path) -> None:
    shown = run("connect", "keys", "--new").stdout
    assert "; _dck1: not in DNS yet" in shown
    write(zones, "esp.example", *(one for one in shown.splitlines() if one[0] != ";"))


def test_the_way_from_a_template_to_a_signed_address(
    run: Run, zones: Path, site: Site, tmp_path: Path
) -> None:
    words = ("connect", "template", "--name", "ESP", "--directory", str(tmp_path))
    assert "esp.example.soboo-cname.json" in run(*words).stdout
    file = str(tmp_path / "esp.example.soboo-cname.json")
    assert "every rule is kept" in run("connect", "lint", file).stdout
    refused = run("connect", "url", "customer.com", code=1)
    assert refused.stdout == ""
    assert "no signing key is in DNS" in refused.stderr
    publish_key(run, zones)
    (values,) = json.loads(run("connect", "keys", "--json").stdout)
    assert values["in_dns"] is True
    assert values["name"] == "_dck1.domainconnect.esp.example"

    shown = run("connect", "url", "customer.com")
    (url,) = shown.stdout.splitlines()
    assert url.startswith(f"https://{HOST}:{site.port}/ux{SERVICE}/apply?domain=")
    assert "&key=_dck1" in url
    assert "acme's customer.com, at The Provider" in shown.stderr
    assert "not among it" not in shown.stderr

    run("connect", "keys", "--new")  # not published: it does not sign yet
    assert "&key=_dck1" in run("connect", "url", "customer.com").stdout


def test_what_is_left_out_is_said(run: Run, zones: Path, site: Site) -> None:
    publish_key(run, zones)
    write(
        zones,
        "customer.com",
        f'_domainconnect TXT "{HOST}:{site.port}"',
        '_dmarc TXT "v=DMARC1; p=reject"',
    )
    shown = run("connect", "url", "customer.com")
    assert "not among it: dmarc" in shown.stderr
    assert "dmarc" not in shown.stdout


def test_discovery_is_for_any_domain(run: Run, zones: Path, site: Site) -> None:
    shown = run("connect", "discover", "shop.customer.com").stdout
    assert "customer.com is at The Provider (provider.example): Domain Connect" in shown
    assert "template esp.example soboo-cname: there" in shown
    assert "template esp.example soboo-zone-em: not there" in shown
    assert f"edited at https://{HOST}:{site.port}/edit" in shown
    values = json.loads(run("connect", "discover", "customer.com", "--json").stdout)
    assert values["templates"] == {"soboo-cname": True, "soboo-zone-em": False}
    assert values["by_link"] is True


def test_no_and_nobody_knows_have_exit_codes_of_their_own(
    run: Run, zones: Path, site: Site
) -> None:
    no = run("connect", "discover", "provider.example", code=1)
    assert "names no Domain Connect" in no.stderr
    site.page("/v2/customer.com/settings", b"", status=503)
    unsure = run("connect", "discover", "customer.com", code=3)
    assert "answers 503" in unsure.stderr
    assert run("connect", "url", "customer.com", code=3).stdout == ""


def test_a_private_address_is_asked_only_where_that_is_allowed(
    run: Run, zones: Path, config: Path, site: Site
) -> None:
    config.write_text(config.read_text().replace("private_destinations = true", ""))
    shown = run("connect", "discover", "customer.com", code=3)
    assert "private address, 127.0.0.1" in shown.stderr
    assert site.asked == []


def test_a_template_goes_to_standard_output_alone(run: Run) -> None:
    shown = run("connect", "template", "--name", "ESP", "--mode", "zone")
    made = json.loads(shown.stdout)
    assert made["serviceId"] == "soboo-zone-em"
    assert made["providerName"] == "ESP"
    assert "esp.example.soboo-zone-em.json" in shown.stderr


def test_other_labels_make_another_template(run: Run) -> None:
    words = [
        "--bounce-label",
        "returns",
        "--selector",
        "a",
        "--selector",
        "b",
        "--selector",
        "c",
    ]
    shown = run("connect", "template", "--name", "ESP", *words)
    hosts = [one["host"] for one in json.loads(shown.stdout)["records"]]
    assert hosts == ["returns", *(f"{s}._domainkey" for s in "abc"), "_dmarc"]
    assert "esp.example.soboo-cname.returns.a.b.c.json" in shown.stderr


def test_a_broken_template_is_shown_and_fails(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "esp.example.mail.json"
    file.write_text('{"providerId": "esp.example", "serviceId": "mail"}')
    shown = run("connect", "lint", str(file), code=1).stdout
    assert "DCTL1029 key-domain" in shown
    assert "providerName is missing" in shown
    listed = json.loads(run("connect", "lint", str(file), "--json", code=1).stdout)
    assert {"rule", "severity", "where", "what"} == set(listed[0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("template --name ESP --mode manual", "modes cname and zone, not manual"),
        ("template --name ESP --zone-label em", "--mode zone alone"),
        ("template --name ESP --mode zone --zone-label a.b", "not one label"),
        ("template --name ESP --mode zone --bounce-label r", "--mode cname alone"),
        ("template --name ESP --bounce-label a_b", "not one label"),
        ("template --name ESP --selector s/1", "not a DNS name"),
        ("template --name ESP --logo http://x/", "no https URL"),
        ("template --name ESP --directory /nowhere/at/all", "cannot write"),
        ("lint /nowhere/at.json", "cannot read"),
        ("discover nonsense", "not a fully qualified domain"),
    ],
)
def test_wrong_words_get_one_sentence(run: Run, words: str, said: str) -> None:
    with pytest.raises(FormatError, match=said) as caught:
        run("connect", *words.split())
    assert "\n" not in str(caught.value)


def test_an_empty_name_is_none(run: Run) -> None:
    with pytest.raises(FormatError, match="--name is empty"):
        run("connect", "template", "--name", " ")


def test_a_mode_without_a_template_is_said(run: Run) -> None:
    run("domain", "add", "other.com", "--tenant", "acme", "--mode", "manual")
    with pytest.raises(FormatError, match=r"other\.com is in mode manual"):
        run("connect", "url", "other.com")


def test_keys_that_cannot_be_kept_are_said(run: Run, config: Path) -> None:
    assert "there are no keys" in run("connect", "keys").stdout
    (config.parent / "var" / "connect").write_text("in the way")
    with pytest.raises(SecretError, match="cannot read"):
        run("connect", "keys", "--new")


def carried(run: Run, config: Path) -> dict[str, str]:
    shown = run("domain", "link", "customer.com").stdout.strip()
    parts = urlsplit(shown)
    assert f"{parts.scheme}://{parts.netloc}" == "https://m.esp.example"
    query = dict(parse_qsl(parts.query))
    links = SetupLinks(MASTER.setup_key())
    click = links.carried(parts.path.rpartition("/")[2], query.pop("apply", ""))
    return query | ({} if click is None else {"name": click.name, "url": click.url})


def test_the_link_to_the_page_carries_the_address(
    run: Run, zones: Path, config: Path, site: Site
) -> None:
    publish_key(run, zones)
    found = carried(run, config)
    assert found["dns"] == "linode"
    assert found["name"] == "The Provider"
    assert found["url"] == run("connect", "url", "customer.com").stdout.strip()
    plain = run("domain", "link", "customer.com", "--no-connect").stdout
    assert "apply=" not in plain


def test_where_no_button_can_be_the_link_says_why(
    run: Run, zones: Path, config: Path, site: Site
) -> None:
    publish_key(run, zones)
    site.page(SERVICE, b"", status=404)
    shown = run("domain", "link", "customer.com")
    assert "no one-click button: The Provider does Domain Connect, but" in shown.stderr
    assert carried(run, config) == {"dns": "linode"}


def test_without_keys_nobody_is_asked(
    run: Run, zones: Path, config: Path, site: Site
) -> None:
    assert carried(run, config) == {"dns": "linode"}
    assert run("domain", "link", "customer.com").stderr == ""
    assert site.asked == []


def test_a_mode_without_templates_has_a_page_all_the_same(
    run: Run, zones: Path, site: Site
) -> None:
    publish_key(run, zones)
    run("domain", "add", "other.com", "--tenant", "acme", "--mode", "manual")
    shown = run("domain", "link", "other.com")
    assert "/setup/" in shown.stdout
    assert "other.com is in mode manual" in shown.stderr
