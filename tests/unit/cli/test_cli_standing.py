"""How domains stand and stood, as an operator reads it."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.context import CliStore, open_store
from soboo_mta.cli.domains import look
from soboo_mta.cli.domains.standing.tables import state_word
from soboo_mta.daemon.domains.keeping import keep_look
from soboo_mta.events.event import EventKind, recorded
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.identity.records import required_records
from soboo_mta.identity.standing import RecordName
from soboo_mta.identity.state import Operator
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
from soboo_mta.net.clock import SystemClock
from soboo_mta.onboarding.check import CheckOptions, DomainCheck
from soboo_mta.onboarding.watch.monitor import Observation, changes
from soboo_mta.onboarding.watch.states import Timers
from soboo_mta.ports import Clock, RecordType
from soboo_mta.spool.lease import lease_time
from soboo_mta.store.schema import worker
from soboo_mta.store.unit import perform
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.domains import (
    DomainView,
    LeftName,
    released_domains,
    store_left,
    the_domain,
)
from tests.fakes.clock import FakeClock
from tests.fakes.domains import published
from tests.fakes.tenancy import ACME, NAME

Run = Callable[..., str]
BOUNCE = "bounce.customer.com"


@pytest.fixture
def run(config: Path) -> Run:
    def typed(*words: str, code: int = 0) -> str:
        """Run a command; return what it printed. Our own errors are raised."""
        result = CliRunner(env={"COLUMNS": "250", "SOBOO_CONFIG": str(config)}).invoke(
            app, list(words)
        )
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            raise error
        assert result.exit_code == code, result.output
        return result.output

    return typed


class Customer:
    """A domain whose DNS tests write; looked at as the monitor does."""

    def __init__(self, store: CliStore) -> None:
        self.store = store
        self.clock = FakeClock()
        self.dns = published(self.view.settings, operator=store.operator)
        for record in required_records(self.view.settings, store.operator):
            self.dns.add(record.owner, record.kind, record.value)

    @property
    def view(self) -> DomainView:
        return read_now(self.store.engine, lambda at: the_domain(at, NAME))

    def look(self, seconds: float = 0) -> None:
        self.clock.advance(seconds)
        view, dns = self.view, self.dns
        check = DomainCheck(
            resolver=dns,
            operator=self.store.operator,
            suffixes=SuffixList(),
            clock=self.clock,
            options=CheckOptions(),
        )
        result = asyncio.run(check.check(view.settings, view.state.facts, ()))
        observation = Observation(
            domain_id=view.settings.domain_id,
            before=(),
            result=result,
            changes=changes(view.state.facts, result.facts),
        )
        write_now(
            self.store.engine,
            lambda at: keep_look(
                at,
                observation,
                timers=Timers(),
                now=self.clock.unix_ms(),
                actor="monitor",
            ),
        )


@pytest.fixture
def customer(run: Run, store: CliStore) -> Customer:
    run("tenant", "add", "acme")
    run("domain", "add", "customer.com", "--tenant", "acme")
    return Customer(store)


def state(run: Run) -> str:
    (one,) = json.loads(run("domain", "list", "--json"))
    return str(one["state"])


def test_a_domain_is_listed_with_how_it_stands(run: Run, customer: Customer) -> None:
    assert state(run) == "pending"
    customer.look()
    assert state(run) == "verified"
    customer.dns.remove(BOUNCE)
    customer.look(60)
    assert state(run) == "at-risk"
    assert "at-risk" in run("domain", "list")


def test_verify_says_what_stands_how_since_when_and_what_is_next(
    run: Run, customer: Customer
) -> None:
    customer.look()
    customer.dns.remove(BOUNCE)
    customer.look(60)
    shown = run("domain", "verify", "customer.com", code=1)  # DNS is silent there
    line = next(line for line in shown.splitlines() if "can_bounce" in line)
    assert "at-risk" in line
    assert "2026-01-01 00:01:00 UTC" in line
    assert "broken after 2026-01-04 00:01:00 UTC" in line
    assert f"{BOUNCE} CNAME" in shown
    assert "no answer since" in shown
    assert "next look: " in shown


def test_verify_names_a_worker_that_does_not_take_in_what_was_seen(
    run: Run, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "_PATIENCE", 0.2)
    clock = SystemClock()
    row = {"number": 3, "epoch": 1, "host": "h", "process": 7, "acknowledged": 0}

    def start(connection: Connection) -> None:
        until = lease_time(connection, clock) + 60_000
        connection.execute(
            insert(worker).values(**row, lease_until=until, started_at=0)
        )

    customer.look()
    write_now(customer.store.engine, start)
    shown = run("domain", "verify", "customer.com", code=1)
    assert "not acknowledged: worker 3, process 7 on h" in shown


def test_verify_tells_programs_the_same(run: Run, customer: Customer) -> None:
    customer.look()
    told = json.loads(run("domain", "verify", "customer.com", "--json", code=1))
    assert (told["name"], told["tenant"], told["state"]) == (
        "customer.com",
        "acme",
        "verified",
    )
    by_name = {one.get("capability") or one["record"]: one for one in told["standings"]}
    assert by_name["can_sign"] | {"since": 0} == {
        "capability": "can_sign",
        "state": "verified",
        "since": 0,
        "ends_at": None,
        "flapping": False,
        "required": True,
        "why": "",
        "fault": "",
    }
    assert f"{BOUNCE} CNAME" in by_name
    assert told["next_check_at"] > 0
    assert {one["status"] for one in told["records"]} == {"unknown"}


def test_verify_says_why_reports_do_not_come_to_us(
    run: Run, config: Path, store: CliStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = config.read_text()
    ours = 'dmarc_reports = "dmarc@esp.example"\n[[listeners]]'
    config.write_text(text.replace("[[listeners]]", ours, 1))
    run("tenant", "add", "acme")
    run("domain", "add", "customer.com", "--tenant", "acme")
    dns = Customer(open_store(config)).dns
    dns.replace("_dmarc.customer.com", "TXT", "v=DMARC1; p=reject")

    def check(_settings: object, operator: Operator, clock: Clock) -> DomainCheck:
        return DomainCheck(
            resolver=dns,
            operator=operator,
            suffixes=SuffixList(),
            clock=clock,
            options=CheckOptions(),
        )

    monkeypatch.setattr(look, "domain_check", check)
    shown = run("domain", "verify", "customer.com")
    assert "can_report (recommended)" in shown
    assert "can_report is recommended, and missing: the DMARC record at" in shown
    assert "soboo-mta domain records customer.com --dmarc-reports" in shown
    told = json.loads(run("domain", "verify", "customer.com", "--json"))
    assert told["reports"]["fault"] == "dmarc-without-us"

    dns.replace(
        "_dmarc.customer.com", "TXT", "v=DMARC1; p=none; rua=mailto:dmarc@esp.example"
    )
    dns.add("customer.com._report._dmarc.esp.example", "TXT", "v=DMARC1")
    assert "can_report is recommended" not in run("domain", "verify", "customer.com")
    told = json.loads(run("domain", "verify", "customer.com", "--json"))
    assert told["reports"] == {"status": "good", "fault": "", "cause": "", "mend": ""}


def test_what_flaps_is_marked_so(run: Run, customer: Customer) -> None:
    customer.look()
    held = dict(customer.dns.zone)
    for _ in range(3):
        customer.dns.remove(BOUNCE)
        customer.look(30)
        customer.dns.zone = dict(held)
        customer.look(30)
    shown = run("domain", "verify", "customer.com", code=1)
    assert "verified, flapping" in shown
    assert "told again once it holds for 6 h" in shown


def test_history_tells_what_happened_and_why(run: Run, customer: Customer) -> None:
    customer.look()
    customer.dns.replace(BOUNCE, "CNAME", "elsewhere.example.")
    customer.look(60)
    shown = run("domain", "history", "Customer.COM.")
    assert "domain-added" in shown
    assert "can_sign: pending → verified" in shown
    assert "can_bounce: verified → at-risk: " in shown
    assert "leads to elsewhere.example" in shown
    assert "the bounce host no longer leads to us" in shown
    assert shown.index("domain-added") < shown.index("domain-at-risk")


def test_history_tells_programs_the_same_and_no_more_than_asked_for(
    run: Run, customer: Customer
) -> None:
    customer.look()
    customer.dns.remove(BOUNCE)
    customer.look(60)
    told = json.loads(run("domain", "history", "customer.com", "--json"))
    by_event = {one["event"]: one for one in told}
    (move,) = by_event["domain-at-risk"]["detail"]["moves"]
    assert move["what"] == "can_bounce"
    assert (move["news"], move["from"], move["to"]) == (
        "at-risk",
        "verified",
        "at-risk",
    )
    assert move["why"]
    assert (by_event["domain-at-risk"]["tenant"], by_event["domain-at-risk"]["by"]) == (
        "acme",
        "monitor",
    )
    last = json.loads(
        run("domain", "history", "customer.com", "--json", "--limit", "2")
    )
    assert last == told[-2:]
    assert "these are the last 2" in run(
        "domain", "history", "customer.com", "--limit", "2"
    )


def test_history_outlives_a_release_and_is_one_tenants_where_asked(
    run: Run, customer: Customer, store: CliStore
) -> None:
    dangling = recorded(
        EventKind.NAME_DANGLING,
        at=7,
        actor="monitor",
        tenant=ACME,
        domain=NAME,
        detail={"names": ["bounce.customer.com CNAME x.b.esp.example."]},
    )
    customer.look()
    run("domain", "release", "customer.com", "--yes")
    shown = run("domain", "history", "customer.com")
    assert "domain-verified" in shown
    assert "domain-released" in shown
    write_now(store.engine, lambda at: perform(at, dangling))
    shown = run("domain", "history", "customer.com")
    assert "bounce.customer.com CNAME x.b.esp.example." in shown
    assert "[" not in shown
    run("tenant", "add", "rival")
    with pytest.raises(TenancyError, match=r"nothing is known of .* of tenant rival"):
        run("domain", "history", "customer.com", "--tenant", "rival")


def test_bad_words_are_answered_by_one_sentence(run: Run) -> None:
    run("tenant", "add", "acme")
    with pytest.raises(TenancyError, match="nothing is known of a domain"):
        run("domain", "history", "nobody.example")
    with pytest.raises(FormatError):
        run("domain", "history", "not a domain")
    run("domain", "history", "nobody.example", "--limit", "0", code=2)


def test_a_domain_vouched_for_is_assumed_and_one_not_looked_at_yet_says_so(
    customer: Customer,
) -> None:
    view = customer.view
    assert state_word(view) == "pending"
    assert state_word(replace(view, verified_at=5)) == "not looked at yet"
    settings = replace(view.settings, assume_verified=True)
    state = replace(view.state, settings=settings)
    assert state_word(replace(view, state=state)) == "assumed"


def test_released_domains_are_listed_with_what_still_leads_to_us(
    run: Run, customer: Customer, store: CliStore
) -> None:
    assert "no domain was released" in run("domain", "list", "--released")
    run("tenant", "add", "x")
    run("domain", "release", "customer.com", "--yes")
    assert "not known yet" in run("domain", "list", "--released")
    (gone,) = read_now(store.engine, released_domains)
    left = LeftName(
        name=RecordName(DnsName(BOUNCE), RecordType.CNAME),
        target=DnsName("tok.b.esp.example"),
        since=1,
        seen_at=1_767_225_600_000,
    )

    def keep(*names: LeftName, clean: int, then: int | None) -> None:
        write_now(
            store.engine,
            lambda at: store_left(
                at,
                gone.settings.domain_id,
                left=names,
                clean_looks=clean,
                next_look_at=then,
            ),
        )

    keep(left, clean=0, then=1_767_312_000_000)
    shown = run("domain", "list", "--released")
    assert f"still dangling: {BOUNCE} → tok.b.esp.example" in shown
    assert "last seen 2026-01-01 00:00:00 UTC" in shown
    assert "2026-01-02 00:00:00 UTC" in shown
    (told,) = json.loads(run("domain", "list", "--released", "--json"))
    assert (told["name"], told["state"]) == ("customer.com", "released")
    assert told["left"][0]["name"] == BOUNCE
    assert told["left"][0]["target"] == "tok.b.esp.example"
    keep(clean=3, then=1_767_312_000_000)
    assert "nothing leads to us, at 3 looks" in run("domain", "list", "--released")
    keep(clean=7, then=None)
    (told,) = json.loads(run("domain", "list", "--released", "--json"))
    assert (told["left"], told["next_look_at"]) == ([], None)
    assert "no domain was released" in run(
        "domain", "list", "--released", "--tenant", "x"
    )
