"""docs/operations.md lists each line of the log with its fields, and nothing else."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soboo_mta.events.log import EventLog
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import NoLogin
from soboo_mta.mail.ids import DomainId, MessageId, TenantId
from soboo_mta.mail.outcome import Deferred, Delivered, Failed, Held, Reason, Scope
from soboo_mta.mail.reply import reply
from tests.fakes.connector import a_message

ROOT = Path(__file__).parents[3]
SAID = reply(450, "4.2.0", "later")
WHY = {"reason": Reason.REPLY, "scope": Scope.MESSAGE}
CALLS: dict[str, Callable[[EventLog], None]] = {
    "serving": lambda log: log.serving(1, ["127.0.0.1 port 25 (none)"]),
    "stopped": lambda log: log.stopped(1),
    "accepted": lambda log: log.accepted(a_message()),
    "refused": lambda log: log.refused(SAID, client="c", tenant=TenantId("acme")),
    "delivered": lambda log: _settled(log, Delivered(reply=SAID)),
    "deferred": lambda log: _settled(log, Deferred(reply=SAID, **WHY)),
    "failed": lambda log: _settled(log, Failed(reply=SAID, **WHY)),
    "held": lambda log: _settled(log, Held(reason=Reason.REPLY, explanation="x")),
    "gate_closed": lambda log: log.gate_closed("tenant", "acme", "x"),
    "gate_opened": lambda log: log.gate_opened("tenant", "acme"),
    "domain_alarm": lambda log: log.domain_alarm(
        "dmarc-failed", Domain("acme.example"), {"count": 1}
    ),
    "domain_changed": lambda log: log.domain_changed(
        Domain("acme.example"), DomainId(1), "domain-verified", "x"
    ),
    "domain_trouble": lambda log: log.domain_trouble(
        Domain("acme.example"), DomainId(1), "domain-at-risk", ["x"]
    ),
    "domain_mended": lambda log: log.domain_mended(
        Domain("acme.example"), DomainId(1), "domain-recovered", ["x"]
    ),
    "name_dangling": lambda log: log.name_dangling(
        Domain("acme.example"),
        DomainId(1),
        record="x CNAME",
        target=Domain("y.example"),
    ),
    "name_cleared": lambda log: log.name_cleared(
        Domain("acme.example"),
        DomainId(1),
        record="x CNAME",
        target=Domain("y.example"),
    ),
    "lease_lost": lambda log: log.lease_lost(1, 2),
    "store_trouble": lambda log: log.store_trouble("x"),
    "corrupt": lambda log: log.corrupt(MessageId(1), "x"),
    **{
        word: lambda log, word=word: log.alert(
            word.replace("_", "-"), source="s", site="mx", tenant=None, reply="x"
        )
        for word in ("source_blocked", "content_blocked", "source_paused")
    },
    "proxy_refused": lambda log: log.proxy_refused(proxy="p", cause="x"),
    "login_failed": lambda log: log.login_failed(
        client="c", user_name="u", cause=NoLogin.NETWORK
    ),
    "return_kept": lambda log: log.return_kept(
        door="recipient", address="b-x@b.example", size=1, client="c"
    ),
    "return_refused": lambda log: log.return_refused(SAID, client="c"),
    "return_read": lambda log: log.return_read(
        1,
        kind="dsn",
        message=MessageId(1),
        tenant=TenantId("acme"),
        recipient="ann@there.example",
        bounce_class="mailbox-full",
    ),
    "tls_report": lambda log: log.tls_report(
        1,
        reporter="There",
        proved_by="there.example",
        host="bounce.customer.com",
        passed_over="",
    ),
    "tls_failing": lambda log: log.tls_failing(
        "bounce.customer.com",
        result="certificate-expired",
        sessions=3,
        reporter="There",
        mend="Renew it.",
    ),
    "return_forwarded": lambda log: log.return_forwarded(
        1,
        message=MessageId(1),
        tenant=TenantId("acme"),
        to=parse_mailbox("a@b.example"),
    ),
    "complaints_moved": lambda log: log.complaints_moved(
        "tenant",
        "acme",
        tenant=TenantId("acme"),
        level="slow",
        before="warn",
        complaints=4,
        delivered=2_000,
    ),
    "reader_ended": lambda log: log.reader_ended(1, 2, "x"),
    "internal_error": lambda log: log.internal_error(stage="s", error=ValueError()),
}
OTHERS = {  # written where they happen; each name is searched for in the sources
    "swept": {"rows"},
    "zone_created": {"zone", "records"},
    "zone_fault": {"zone"},
    "zone_mended": {"zone", "name", "type", "what"},
    "zone_trouble": {"zone", "cause"},
    "publishing_failed": {"cause"},
    "webhook_disabled": {"webhook", "because"},
    "webhook_secret_unreadable": {"webhook", "cause"},
    "events_sink_trouble": {"sink", "cause"},
    "clock_set_back": {"seconds"},
    "settings_warning": {"text"},
    "ready": {"processes"},
    "reload": {"said"},
    "reload_refused": {"code", "said"},
    "process_ended": {"role", "process", "code", "again_in_seconds"},
    "process_died": {"role", "exception"},
    "process_left": {"role", "process", "code"},
    "service_manager_not_told": {"facts", "cause"},
    "log_lines_lost": {"lines"},
}


class Lines:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, set[str]]] = []

    def info(self, event: str, **facts: Any) -> None:
        self.lines.append((event, "info", set(facts)))

    def warning(self, event: str, **facts: Any) -> None:
        self.lines.append((event, "warning", set(facts)))

    def error(self, event: str, **facts: Any) -> None:
        self.lines.append((event, "error", set(facts)))


def _settled(log: EventLog, outcome: object) -> None:
    log.settled(a_message(), 0, outcome, host="mx", next_attempt=1)


def documented() -> dict[str, tuple[str, set[str]]]:
    """The rows of the table of log lines: event, level, fields."""
    text = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", text, re.MULTILINE)
    return {
        event: (level, set(re.findall(r"`(\w+)`", fields)))
        for event, level, fields in rows
    }


def test_every_line_of_the_log_is_documented_with_its_level_and_fields() -> None:
    written: dict[str, tuple[str, set[str]]] = {}
    for name, call in CALLS.items():
        sink = Lines()
        call(EventLog(sink))
        ((event, level, facts),) = sink.lines
        assert event == name
        written[event] = (level, facts)
    told = documented()
    assert {event: told[event] for event in written} == written
    assert set(told) == {*written, *OTHERS}


def test_no_method_of_the_log_is_left_out() -> None:
    methods = {name for name in vars(EventLog) if not name.startswith("_")}
    outcomes = {"delivered", "deferred", "failed", "held"}
    alerts = {"source_blocked", "content_blocked", "source_paused"}
    assert methods == (set(CALLS) - outcomes - alerts) | {"settled", "alert"}


def test_lines_written_elsewhere_are_documented_too() -> None:
    sources = "".join(file.read_text() for file in (ROOT / "soboo_mta").rglob("*.py"))
    for event, fields in OTHERS.items():
        assert f'"{event}"' in sources
        assert documented()[event][1] == fields
