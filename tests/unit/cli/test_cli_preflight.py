"""`domain preflight` and `domain spf` as an operator types them, against a real name server."""

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.trial.zones import Zones, without
from soboo_mta.mail.errors import FormatError
from soboo_mta.tenancy.accounts import TenancyError
from tests.fakes.submission import Desk, desk, emptied, listening
from tests.fakes.tenancy import MASTER

_SETTINGS = """
[secrets]
master_key_file = "master.key"
[server]
data_directory = "var"
[operator]
domain = "esp.example"
mx_hosts = ["mx.esp.example"]
[[listeners]]
address = "127.0.0.1"
port = 2525
tls = "none"
[[sources]]
name = "out-1"
public_address = "203.0.113.5"
ehlo_name = "mta1.esp.example"
[dns]
resolvers = ["127.0.0.1:{port}"]
authoritative_port = {port}
timeout = "2s"
lifetime = "2s"
"""


class Place:
    """An installation, its name server, and the customer's zone."""

    def __init__(self, directory: Path, port: int) -> None:
        self.zones = Zones(directory=directory / "zones")
        self.config = directory / "soboo.toml"
        self.config.write_text(_SETTINGS.format(port=port))

    def run(self, *words: str, code: int = 0) -> str:
        result = CliRunner(env={"SOBOO_CONFIG": str(self.config)}).invoke(
            app, list(words)
        )
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        assert result.exit_code == code, result.output
        return result.output

    def lines(self, *words: str) -> list[str]:
        text = self.run("domain", "records", *words, "--format", "zone")
        return [line for line in text.splitlines() if line and line[0] != ";"]

    def publish(self, change: Callable[[list[str]], list[str]] = list) -> None:
        """The operator's and the customer's zones, the customer's with a change."""
        self.zones.write("esp.example", ["mx A 203.0.113.9", *self.lines("--operator")])
        own = ["@ MX 10 mx", "mx A 203.0.113.77", '_dmarc TXT "v=DMARC1; p=reject"']
        asked = without(self.lines("customer.com"), "_dmarc.")
        self.zones.write("customer.com", change([*own, *asked]))

    def preflight(self, *words: str, code: int = 0) -> dict[str, tuple[str, str]]:
        """Check code → (worst result, its sentence)."""
        text = self.run(
            "domain", "preflight", "customer.com", "--json", *words, code=code
        )
        found: dict[str, tuple[str, str]] = {}
        order = ("pass", "unknown", "warn", "fix", "hold")
        for check in json.loads(text)["checks"]:
            held = found.get(check["code"], ("pass", ""))
            if order.index(check["result"]) >= order.index(held[0]):
                found[check["code"]] = (check["result"], check["sentence"])
        return found


@pytest.fixture
def place(tmp_path: Path, name_server: int) -> Place:
    MASTER.write_new(tmp_path / "master.key")
    made = Place(tmp_path, name_server)
    made.zones.write_lab()
    made.zones.write("113.0.203.in-addr.arpa", ["5 PTR mta1.esp.example."])
    made.run("tenant", "add", "acme")
    return made


@pytest.fixture
def cname(place: Place) -> Place:
    place.run("domain", "add", "customer.com", "--tenant", "acme")
    place.publish()
    return place


def test_a_domain_that_published_all_would_pass(cname: Place) -> None:
    found = cname.preflight("--from", "news@customer.com", "--source", "out-1")

    assert {result for result, _ in found.values()} == {"pass"}
    assert "rung full" in found["P-PLAN"][1]
    assert "2048 bits" in found["P-DKIM-KEY"][1]
    assert "0 of 10 look-ups" in found["P-SPF-PASS"][1]
    assert found["P-ALIGN"][1].count("SPF of bounce.customer.com") == 2
    shown = cname.run("domain", "preflight", "customer.com")
    assert "gmail since 2024-02: SPF and DKIM pass" in shown
    assert "List-Unsubscribe" in shown
    assert shown.endswith("would leave and pass\n")


def test_a_look_changes_nothing(cname: Place) -> None:
    cname.preflight()

    (listed,) = json.loads(cname.run("domain", "list", "--json"))
    assert listed["verified_at"] is None


@pytest.mark.parametrize(
    ("name", "broken", "result"),
    [
        ("P-PLAN", ("sb1._", "sb2._", "sb3._", "bounce."), "hold"),
        ("P-PLAN", ("bounce.",), "warn"),
        ("P-DMARC-REC", ("_dmarc",), "fix"),
        ("P-MX", ("@ MX", "mx A"), "fix"),
    ],
)
def test_what_is_missing_shows_in_its_check(
    cname: Place, name: str, broken: tuple[str, ...], result: str
) -> None:
    cname.publish(lambda lines: without(lines, *broken))

    found = cname.preflight(code=0 if result == "warn" else 1)

    assert found[name][0] == result


def test_what_only_bulk_rules_demand_is_a_warning_for_other_mail(cname: Place) -> None:
    cname.publish(lambda lines: without(lines, "_dmarc"))

    for words, code, result in (
        (("--class", "bulk"), 1, "fix"),
        (("--class", "bulk", "--provider", "apple"), 0, "warn"),
        (("--class", "transactional"), 0, "warn"),
    ):
        assert cname.preflight(*words, code=code)["P-DMARC-REC"][0] == result


def test_an_address_without_a_name_of_its_own_is_to_be_mended(cname: Place) -> None:
    cname.zones.write("113.0.203.in-addr.arpa", ["5 PTR 203-0-113-5.dyn.esp.example."])

    result, sentence = cname.preflight(code=1)["P-FCRDNS"]

    assert (result, "leads elsewhere" in sentence) == ("fix", True)


def test_a_silent_dns_is_nobodys_fault(place: Place) -> None:
    place.run("domain", "add", "customer.com", "--tenant", "acme")
    settings = place.config.read_text()
    place.config.write_text(settings.replace('"2s"', '"50ms"').replace(
        "resolvers = [\"127.0.0.1:", "resolvers = [\"127.0.0.2:"
    ))  # fmt: skip

    found = place.preflight(code=1)

    assert found["P-PLAN"][0] == "hold"  # never verified: that needs no DNS
    for code in ("P-DKIM-KEY", "P-DMARC-REC", "P-ALIGN", "P-MX", "P-FCRDNS", "P-EHLO"):
        assert found[code][0] == "unknown", code


def test_what_somebody_holds_by_hand_does_not_leave(cname: Place) -> None:
    cname.run("tenant", "suspend", "acme")
    result, sentence = cname.preflight(code=1)["P-PLAN"]
    assert (result, "tenant acme held since" in sentence) == ("hold", True)
    cname.run("tenant", "resume", "acme")
    assert cname.preflight()["P-PLAN"][0] == "pass"

    hold = ("hold", "--domain", "customer.com", "--because", "new owner")
    cname.run("queue", *hold)
    assert "new owner" in cname.preflight(code=1)["P-PLAN"][1]
    cname.run("queue", "release", "--domain", "customer.com")
    cname.run("queue", "hold", "--to", "far.example", "--because", "they block us")
    assert cname.preflight()["P-PLAN"][0] == "pass"


def test_words_that_cannot_be_meant_are_refused(cname: Place) -> None:
    with pytest.raises(FormatError, match="have out-1"):
        cname.preflight("--source", "out-9")
    with pytest.raises(FormatError, match=r"not at customer\.com"):
        cname.preflight("--from", "a@other.example")
    with pytest.raises(TenancyError, match="domain list"):
        cname.run("domain", "preflight", "nobody.example")


# ---- domain spf


def test_any_names_spf_is_shown_as_a_tree(place: Place) -> None:
    place.zones.write(
        "customer.com",
        [
            '@ TXT "v=spf1 include:_spf.customer.com mx ip4:203.0.113.5 ~all"',
            '_spf TXT "v=spf1 a:gone.customer.com -all"',
            "@ MX 10 mx",
            "mx A 203.0.113.77",
        ],
    )

    shown = place.run("domain", "spf", "customer.com")

    assert "include:_spf.customer.com (2 look-ups)" in shown
    assert "a:gone.customer.com (1 look-up) 1 void" in shown
    assert "customer.com: 3 of 10 look-ups, 2 of 2 void" in shown
    assert "for IPv6 clients: 2" in shown
    assert "from our source out-1: pass" in shown
    values = json.loads(place.run("domain", "spf", "customer.com", "--json"))
    assert (values["lookups"], values["voids"], values["faults"]) == (3, 2, [])
    assert values["tree"]["terms"][0]["record"]["name"] == "_spf.customer.com"


def test_a_record_in_error_ends_in_exit_code_1_and_silence_in_3(place: Place) -> None:
    place.zones.write("customer.com", ['@ TXT "v=spf1 include:customer.com ~all"'])
    assert "never end" in place.run("domain", "spf", "customer.com", code=1)
    settings = place.config.read_text().replace('"2s"', '"50ms"')
    place.config.write_text(settings.replace('["127.0.0.1:', '["127.0.0.2:'))
    assert "no answer" in place.run("domain", "spf", "customer.com", code=3)
    with pytest.raises(FormatError, match="is not a DNS name"):
        place.run("domain", "spf", "no name")


# ---- the DMARC record that is there


def dmarc_record(place: Place, *words: str) -> dict[str, str]:
    text = place.run("domain", "records", "customer.com", "--format", "json", *words)
    (found,) = [one for one in json.loads(text) if one["purpose"] == "dmarc"]
    return dict(found)


def with_reports(place: Place) -> None:
    place.config.write_text(
        place.config.read_text().replace(
            "mx_hosts", 'dmarc_reports = "dmarc@esp.example"\nmx_hosts'
        )
    )


def test_records_keeps_the_dmarc_record_that_is_there(cname: Place) -> None:
    found = dmarc_record(cname)
    assert (found["value"], found["note"]) == (
        "v=DMARC1; p=reject",
        "it is there: keep it",
    )
    assert dmarc_record(cname, "--no-dns")["value"] == "v=DMARC1; p=none"


def test_our_reports_are_added_where_they_are_asked_for(cname: Place) -> None:
    with pytest.raises(FormatError, match=r"set \[operator\] dmarc_reports"):
        dmarc_record(cname, "--dmarc-reports")
    with_reports(cname)
    assert dmarc_record(cname)["value"] == "v=DMARC1; p=reject"
    merged = dmarc_record(cname, "--dmarc-reports")
    assert merged["value"] == "v=DMARC1; p=reject; rua=mailto:dmarc@esp.example"
    with pytest.raises(FormatError, match="one DOMAIN"):
        cname.run("domain", "records", "--all", "--dmarc-reports")


def test_a_first_dmarc_record_sends_us_reports(cname: Place) -> None:
    with_reports(cname)
    cname.publish(lambda lines: without(lines, "_dmarc"))
    found = dmarc_record(cname)
    assert found["value"] == "v=DMARC1; p=none; rua=mailto:dmarc@esp.example"


def test_several_dmarc_records_are_named_with_the_one_to_keep(cname: Place) -> None:
    cname.publish(lambda lines: [*lines, '_dmarc TXT "v=DMARC1; p=none"'])
    found = dmarc_record(cname)
    assert found["value"] == "v=DMARC1; p=reject"
    assert 'remove "v=DMARC1; p=none"' in found["note"]


# ---- mode manual


def test_mode_manual_says_what_it_costs_and_shows_the_exact_strings(
    place: Place,
) -> None:
    shown = place.run(
        "domain", "add", "customer.com", "--tenant", "acme", "--mode", "manual"
    )
    assert "mind: no key can change without the customer" in shown
    assert "bounces go there and not to us" in shown

    lines = place.run(
        "domain", "records", "customer.com", "--format", "panel"
    ).splitlines()
    start = lines.index("sb1._domainkey.customer.com")
    value = lines[start + 2]
    (cut,) = [line for line in lines if line.startswith('"v=DKIM1')]
    strings = cut.strip('"').split('" "')
    assert all(len(one) <= 255 for one in strings)
    assert "".join(strings) == value
    (record,) = [
        one
        for one in json.loads(
            place.run("domain", "records", "customer.com", "--format", "json")
        )
        if one["name"] == "sb1._domainkey.customer.com"
    ]
    assert record["strings"] == strings

    place.zones.write("customer.com", [f"sb1._domainkey TXT {cut}"])
    assert "domain is verified" in place.run(
        "domain", "verify", "customer.com"
    ).replace("customer.com is", "domain is")


def test_mode_cname_has_no_drawbacks_to_mind(place: Place) -> None:
    shown = place.run("domain", "add", "customer.com", "--tenant", "acme")
    assert "mind:" not in shown


# ---- the customer's own relay


@pytest.fixture
def customers_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[int, Desk]]:
    """Our own listener as smtp.customer.com, in a thread of its own: port and what it
    kept. Its user is acme, its password s3cret."""
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("smtp.customer.com").configure_cert(serving)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    one, ports, ready = desk(), list[int](), threading.Event()
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with listening(one, tls=serving) as (server, port):
            ports.append(port)
            ready.set()
            await over.wait()
            await emptied(server)

    def run() -> None:  # to the end of every connection, as a loop of its own is not
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    yield ports[0], one
    loop.call_soon_threadsafe(over.set)
    thread.join(10)


def with_relay(place: Place, tmp_path: Path, port: int, password: str) -> None:
    secret = tmp_path / "relay.password"
    secret.write_text(password)
    secret.chmod(0o600)
    place.config.write_text(
        place.config.read_text() + "[delivery]\nprivate_destinations = true\n"
    )
    place.run(
        *("domain", "add", "customer.com", "--tenant", "acme", "--mode", "relay"),
        *("--relay-host", f"smtp.customer.com:{port}", "--relay-user", "acme"),
        *("--relay-password-file", str(secret)),
    )
    place.publish(lambda lines: [*lines, "smtp A 127.0.0.1"])


@pytest.mark.parametrize(
    ("password", "result", "words"),
    [
        ("s3cret", "pass", "logged in as acme"),
        ("wrong", "fix", "it does not accept the login: the server said 535"),
    ],
)
def test_a_customers_relay_is_tried_by_its_password_and_gets_nothing(
    place: Place,
    tmp_path: Path,
    customers_relay: tuple[int, Desk],
    password: str,
    result: str,
    words: str,
) -> None:
    port, relay = customers_relay
    with_relay(place, tmp_path, port, password)
    checks = place.preflight("--probe", "--from", "shop@customer.com", code=1)
    assert checks["P-WAY"][0] == result
    assert words in checks["P-WAY"][1]
    assert checks["P-PLAN"][0] == "hold"
    assert checks["P-ALIGN"] == (
        "pass",
        "DMARC pass, as far as DNS shows: our signature would serve, by tree walk"
        " (RFC 9989) and public suffix list",
    )
    assert relay.spool.kept == []


def test_a_relay_is_not_tried_unasked_and_a_private_one_never(
    place: Place, tmp_path: Path
) -> None:
    with_relay(place, tmp_path, 587, "s3cret")
    assert "P-WAY" not in place.preflight(code=1)
    place.config.write_text(place.config.read_text().replace("= true", "= false"))
    result, sentence = place.preflight("--probe", code=1)["P-WAY"]
    assert result == "fix"
    assert "leads to 127.0.0.1, a private address" in sentence


def test_a_domain_without_a_relay_has_none_to_try(cname: Place) -> None:
    with pytest.raises(FormatError, match="mode cname, which has no relay"):
        cname.run("domain", "preflight", "customer.com", "--probe")
