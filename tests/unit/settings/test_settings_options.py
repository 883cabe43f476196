"""Every option of the settings file: documented, defaulted as documented, and felt."""

import re
import tomllib
from collections.abc import Callable, Iterator
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import pytest
from pydantic import BaseModel

from soboo_mta.cli.running.check_config import written
from soboo_mta.daemon.reporting import reports
from soboo_mta.daemon.returning import forwarding_options
from soboo_mta.identity.zones.tls_reporting import TlsReportsTo
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageIds
from soboo_mta.net.outlets.syslog import SyslogTarget
from soboo_mta.ports import SmtpTimeouts, TlsPolicy
from soboo_mta.settings import Settings, load, options
from soboo_mta.settings.sections import ListenerTls, LogLevel
from soboo_mta.submission.options import AcceptanceOptions, ListenerOptions
from soboo_mta.transfer.limits.groups import Rate
from soboo_mta.transfer.limits.options import TransferOptions
from soboo_mta.transfer.routing.finder import ResolveOptions
from soboo_mta.transfer.routing.rules import Mx, NextHop, RouteTo
from tests.fakes.clock import FakeClock
from tests.fakes.submission import FakeDirectory

ROOT = Path(__file__).parents[3]
DOCUMENTED = ROOT / "config" / "soboo.toml"
MINIMAL: dict[str, Any] = {
    "secrets": {"master_key_file": "master.key"},
    "operator": {"domain": "esp.example"},
    "listeners": [{"address": "127.0.0.1", "port": 2525, "tls": "none"}],
    "sources": [
        {
            "name": "default",
            "public_address": "127.0.0.1",
            "ehlo_name": "mta1.esp.example",
        }
    ],
    "pools": [{"name": "plain", "sources": ["default"]}],
    "groups": [{"name": "big", "mx": ["big.example"]}],
    "http_listeners": [{"address": "127.0.0.1", "port": 8025}],
    "return_listeners": [{"address": "127.0.0.1", "port": 8026, "tls": "none"}],
    "routes": [{"domain": "a.example", "next_hop": "127.0.0.1:2600"}],
}


class Felt(NamedTuple):
    """An option set to `value` shows as `expected` where `seen` looks."""

    option: str
    value: Any
    seen: Callable[[Settings], object]
    expected: object


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def _refused_rules(settings: Settings) -> str:
    try:
        settings.bounce_rules()
    except FormatError as refused:
        return str(refused).rpartition(": ")[0]
    return ""


def _submission() -> Iterator[Felt]:
    accept, listen = options.acceptance_options, options.listener_options
    nets = (ip_network("10.0.0.0/8"),)
    yield Felt(
        "submission.trusted_networks",
        ["10.0.0.0/8"],
        lambda s: accept(s).trusted_networks,
        nets,
    )
    for name, field, value, expected in (
        ("max_message_size", "max_message_octets", "1MiB", 1 << 20),
        ("max_recipients", "max_recipients", 200, 200),
        ("max_hops", "max_hops", 7, 7),
        ("longest_hold", "longest_hold", "0s", seconds(0)),
        ("mend_line_ends", "mend_line_ends", True, True),
        ("thread_over_size", "thread_over_octets", "4KiB", 4096),
    ):
        yield Felt(
            f"submission.{name}",
            value,
            lambda s, f=field: getattr(accept(s), f),
            expected,
        )
    counts = (
        "max_connections",
        "max_connections_per_address",
        "max_connections_per_credential",
        "connections_per_minute_per_address",
        "messages_per_minute_per_address",
        "messages_per_minute_per_credential",
        "recipients_per_minute_per_address",
        "recipients_per_minute_per_credential",
        "max_errors",
        "max_idle_commands",
        "max_failed_logins",
        "max_failed_logins_per_address",
        "max_failed_logins_per_user",
        "min_data_rate",
    )
    for name in counts:
        yield Felt(
            f"submission.{name}", 17, lambda s, f=name: getattr(listen(s), f), 17
        )
    waits = (
        "failed_login_window",
        "failed_login_delay",
        "handshake_timeout",
        "login_timeout",
        "command_timeout",
        "data_block_timeout",
        "data_grace",
    )
    for name in waits:
        yield Felt(
            f"submission.{name}",
            "17s",
            lambda s, f=name: getattr(listen(s), f),
            seconds(17),
        )
    yield Felt(
        "submission.clear_login_on_loopback",
        False,
        lambda s: listen(s).clear_login_on_loopback,
        False,
    )
    yield Felt(
        "submission.max_buffered_size",
        "30MiB",
        lambda s: listen(s).max_buffered_octets,
        30 << 20,
    )


def _delivery() -> Iterator[Felt]:
    resolve, ready = options.resolve_options, options.ready_options
    for name, where, field, value, expected in (
        ("port", resolve, "port", 2525, 2525),
        ("tls", resolve, "tls", "required", TlsPolicy.REQUIRED),
        ("private_destinations", resolve, "private_destinations", True, True),
        ("shortest_ttl", resolve, "shortest_ttl", "1s", seconds(1)),
        ("longest_ttl", resolve, "longest_ttl", "10m", seconds(600)),
        ("cached_domains", resolve, "cached_domains", 9, 9),
        ("connections_per_site", ready, "connections", 3, 3),
        ("first_connections", ready, "first_connections", 2, 2),
        ("connection_idle", ready, "idle", "1s", seconds(1)),
        ("connection_life", ready, "connection_life", "7s", seconds(7)),
        ("transactions_per_connection", ready, "transactions", 8, 8),
        ("host_rest", ready, "host_rest", "9s", seconds(9)),
        ("recipients_in_memory", options.transfer_options, "recipients", 11, 11),
        ("content_in_memory", options.transfer_options, "octets", 4096, 4096),
    ):
        yield Felt(
            f"delivery.{name}",
            value,
            lambda s, w=where, f=field: getattr(w(s), f),
            expected,
        )
    yield Felt(
        "delivery.rate_per_site",
        "10/s",
        lambda s: resolve(s).rate,
        Rate(count=10, per=seconds(1)),
    )
    for name, field in (
        ("site_rest", "site"),
        ("blocked_rest", "blocked"),
        ("content_rest", "tenant"),
        ("source_rest", "source"),
    ):
        yield Felt(
            f"delivery.{name}",
            "9s",
            lambda s, f=field: getattr(options.transfer_options(s).rests, f),
            seconds(9),
        )
    for step in (
        "connect",
        "banner",
        "command",
        "data_start",
        "data_block",
        "data_done",
    ):
        yield Felt(
            f"delivery.{step}_timeout",
            "3s",
            lambda s, f=step: getattr(options.client_options(s).timeouts, f),
            seconds(3),
        )
    yield Felt(
        "delivery.test_sinks", ["192.0.2.7"], _with_catch_all("192.0.2.7:25"), True
    )


def _with_catch_all(hop: str) -> Callable[[Settings], object]:
    def seen(settings: Settings) -> object:
        routes = {"routes": [{"domain": "*", "next_hop": hop}]}
        sinks = {
            "delivery": {
                "test_sinks": [str(one) for one in settings.delivery.test_sinks]
            }
        }
        harness = Settings(**{**MINIMAL, **routes, **sinks})
        return harness.allows_assume_verified

    return seen


def _rest() -> Iterator[Felt]:
    dns = options.resolver_options
    one = options.check_options
    rules = options.suppression_rules
    yield from (
        Felt(
            "server.data_directory",
            "/srv/x",
            lambda s: s.store_url,
            "sqlite:////srv/x/soboo.db",
        ),
        Felt("server.workers", 3, lambda s: s.worker_count, 3),
        Felt(
            "server.host_name",
            "in.esp.example",
            lambda s: options.acceptance_options(s).host_name,
            "in.esp.example",
        ),
        Felt("server.stop_within", "3s", lambda s: s.server.stop_within, seconds(3)),
        Felt("store.url", "sqlite:////x.db", lambda s: s.store_url, "sqlite:////x.db"),
        Felt(
            "store.queued_units", 5, lambda s: options.writer_options(s).queued_units, 5
        ),
        Felt("store.readers", 4, lambda s: options.writer_options(s).readers, 4),
        Felt(
            "store.cached_entries", 6, lambda s: options.directory_options(s).entries, 6
        ),
        Felt(
            "store.min_free",
            "3MiB",
            lambda s: options.spool_options(s).min_free,
            3 << 20,
        ),
        Felt(
            "operator.domain", "x.example", lambda s: s.identity().domain, "x.example"
        ),
        Felt(
            "operator.bounce_label",
            "back",
            lambda s: s.identity().bounce_domain,
            "back.esp.example",
        ),
        Felt(
            "operator.mx_hosts",
            ["in.esp.example"],
            lambda s: s.identity().mx_hosts,
            ("in.esp.example",),
        ),
        Felt(
            "operator.link_hosts",
            ["192.0.2.81", "2001:db8::81"],
            lambda s: s.identity().link_hosts,
            (ip_address("192.0.2.81"), ip_address("2001:db8::81")),
        ),
        Felt(
            "operator.image_hosts",
            ["cdn.esp.example"],
            lambda s: s.identity().image_hosts,
            ("cdn.esp.example",),
        ),
        Felt(
            "operator.dmarc_reports",
            "dmarc@esp.example",
            lambda s: str(s.identity().dmarc_reports),
            "dmarc@esp.example",
        ),
        Felt(
            "dns.resolvers",
            ["127.0.0.1:5300", "[::1]:53"],
            lambda s: dns(s).servers,
            ((ip_address("127.0.0.1"), 5300), (ip_address("::1"), 53)),
        ),
        Felt(
            "dns.authoritative_port",
            5300,
            lambda s: options.authoritative_options(s).authoritative_port,
            5300,
        ),
        Felt(
            "suppression.ignore_case",
            False,
            lambda s: options.suppression_options(s).ignore_case,
            False,
        ),
        Felt(
            "classification.rules",
            "config/soboo.toml",  # which is no rule set
            _refused_rules,
            "[classification] rules config/soboo.toml: the bounce rules: server",
        ),
        Felt("suppression.soft_limit", 3, lambda s: rules(s).soft.limit, 3),
        Felt(
            "suppression.soft_within",
            "2d",
            lambda s: rules(s).soft.within,
            timedelta(days=2),
        ),
        Felt(
            "suppression.soft_expires",
            "3d",
            lambda s: rules(s).soft.lasts,
            timedelta(days=3),
        ),
        Felt(
            "suppression.invalid_expires",
            "4d",
            lambda s: rules(s).invalid_lasts,
            timedelta(days=4),
        ),
        Felt(
            "suppression.keep_history",
            "5d",
            lambda s: s.suppression.keep_history,
            timedelta(days=5),
        ),
        Felt("dns.timeout", "1s", lambda s: dns(s).timeout, seconds(1)),
        Felt("dns.lifetime", "4s", lambda s: dns(s).lifetime, seconds(4)),
        Felt("dns.cache_entries", 9, lambda s: dns(s).entries, 9),
        Felt("dns.max_ttl", "9s", lambda s: dns(s).max_ttl, seconds(9)),
        Felt("dns.unanswered_ttl", "5s", lambda s: dns(s).unanswered_ttl, seconds(5)),
        Felt(
            "retry.steps",
            ["1m", "2m"],
            lambda s: options.retry_schedule(s).steps,
            (seconds(60), seconds(120)),
        ),
        Felt(
            "retry.greylisted",
            "90s",
            lambda s: options.retry_schedule(s).greylisted,
            seconds(90),
        ),
        Felt(
            "retry.blocked",
            "2h",
            lambda s: options.retry_schedule(s).blocked,
            timedelta(hours=2),
        ),
        Felt(
            "retry.lifetime",
            "2d",
            lambda s: options.acceptance_options(s).lifetime,
            timedelta(days=2),
        ),
        Felt("retry.jitter", 0.5, lambda s: options.retry_schedule(s).jitter, 0.5),
        *_reports(),
        Felt(
            "signing.signature_life",
            "3d",
            lambda s: options.departure_options(s).signature_life,
            timedelta(days=3),
        ),
        Felt(
            "signing.return_life",
            "9d",
            lambda s: options.departure_options(s).return_life,
            timedelta(days=9),
        ),
        Felt(
            "http.public_url",
            "https://mail.esp.example/",
            lambda s: s.http.public_url,
            "https://mail.esp.example",
        ),
        Felt("signing.rotate_days", 30, lambda s: s.signing.rotate_days, 30),
        Felt(
            "signing.look_every",
            "9s",
            lambda s: options.rotation_options(s).pause,
            seconds(9),
        ),
        Felt("onboarding.shortest", "9s", lambda s: one(s).shortest, seconds(9)),
        Felt("onboarding.longest", "9m", lambda s: one(s).longest, seconds(540)),
        Felt(
            "onboarding.while_broken", "9s", lambda s: one(s).while_broken, seconds(9)
        ),
        Felt(
            "onboarding.last_known_good",
            "9s",
            lambda s: one(s).last_known_good,
            seconds(9),
        ),
        Felt(
            "onboarding.pending",
            "9h",
            lambda s: options.timers(s).pending,
            seconds(9 * 3_600),
        ),
        Felt(
            "onboarding.grace",
            "9h",
            lambda s: options.timers(s).grace,
            seconds(9 * 3_600),
        ),
        Felt(
            "onboarding.while_stalled",
            "9h",
            lambda s: options.timers(s).stalled,
            seconds(9 * 3_600),
        ),
        Felt("onboarding.at_once", 9, lambda s: options.monitor_options(s).at_once, 9),
        Felt(
            "retention.keep",
            "90d",
            lambda s: options.spool_options(s).keep,
            timedelta(days=90),
        ),
        Felt(
            "trace.dialogue_size",
            "1KiB",
            lambda s: options.client_options(s).dialogue_octets,
            1024,
        ),
        Felt(
            "trace.tenants",
            ["acme"],
            lambda s: options.departure_options(s).traced_tenants,
            {"acme"},
        ),
        Felt(
            "trace.destinations",
            ["X.example"],
            lambda s: options.departure_options(s).traced_destinations,
            {"x.example"},
        ),
        Felt("log.level", "debug", lambda s: s.log.level, LogLevel.DEBUG),
    )


def _reports() -> Iterator[Felt]:
    report = options.report_options
    yield Felt("reports.send", False, lambda s: _told(s) is None, True)
    yield Felt("reports.max_returned", "9KiB", lambda s: report(s).max_returned, 9216)
    yield Felt(
        "reports.warn_of_delay", True, lambda s: report(s).policy.warn_of_delay, True
    )
    yield Felt(
        "reports.delay_after",
        "1h",
        lambda s: report(s).policy.delay_after,
        seconds(3600),
    )


def _told(settings: Settings) -> object:
    clock = FakeClock()
    ids = MessageIds(worker=1, unix_ms=clock.unix_ms)
    return reports(settings, FakeDirectory(), ids, clock)


def _web() -> Iterator[Felt]:
    http, inject = options.http_options, options.inject_options
    for option, value, seen, expected in (
        ("http.max_batch", 7, lambda s: inject(s).max_batch, 7),
        ("http.head_timeout", "3s", lambda s: http(s).head, seconds(3)),
        ("http.idle_timeout", "3s", lambda s: http(s).idle, seconds(3)),
        ("monitoring.port", 9625, lambda s: s.monitoring.port, 9625),
        ("monitoring.tenants", 3, lambda s: s.monitoring.tenants, 3),
        ("monitoring.next_hops", 3, lambda s: s.monitoring.next_hops, 3),
        ("http_listeners.port", 444, lambda s: s.http_listeners[0].port, 444),
        ("http_listeners.tls", False, lambda s: s.http_listeners[0].tls, False),
    ):
        yield Felt(option, value, seen, expected)
    yield Felt(
        "http.max_body_size",
        "30MiB",
        lambda s: (inject(s).max_body_octets, http(s).request_octets),
        (30 << 20, 60 << 20),
    )
    for section in ("monitoring", "http_listeners"):
        yield Felt(
            f"{section}.address",
            "127.0.0.2",
            lambda s, name=section: str(_one(getattr(s, name)).address),
            "127.0.0.2",
        )


def _returns() -> Iterator[Felt]:
    listener, reader = options.return_listener_options, options.reader_limits
    reception = options.reception_options

    def first(settings: Settings) -> Any:
        return settings.return_listeners[0]

    for option, value, seen, expected in (
        (
            "return_listeners.address",
            "127.0.0.2",
            lambda s: str(first(s).address),
            "127.0.0.2",
        ),
        ("return_listeners.port", 26, lambda s: first(s).port, 26),
        (
            "return_listeners.tls",
            "starttls",
            lambda s: first(s).tls,
            ListenerTls.STARTTLS,
        ),
        (
            "return_listeners.proxies",
            ["10.0.0.0/24"],
            lambda s: first(s).proxies,
            (ip_network("10.0.0.0/24"),),
        ),
        (
            "returns.feedback",
            ["fbl@esp.example"],
            lambda s: set(map(str, reception(s).feedback)),
            {"fbl@esp.example"},
        ),
        (
            "returns.reporters",
            ["there.example"],
            lambda s: options.settling_options(s).reporters,
            {"there.example"},
        ),
        (
            "returns.desk",
            "desk@office.example",
            lambda s: str(forwarding_options(s).desk),
            "desk@office.example",
        ),
        (
            "returns.forwards_per_recipient",
            3,
            lambda s: forwarding_options(s).per_recipient,
            3,
        ),
        (
            "returns.forwards_per_hour",
            7,
            lambda s: forwarding_options(s).per_hour,
            7,
        ),
        (
            "returns.max_forwarded",
            "1MiB",
            lambda s: forwarding_options(s).max_answer,
            1 << 20,
        ),
        (
            "returns.max_message_size",
            "9MiB",
            lambda s: reception(s).max_message_octets,
            9 << 20,
        ),
        (
            "complaints.sender_id",
            "espexample",
            lambda s: getattr(options.feedback_options(s), "sender", ""),
            "espexample",
        ),
        (
            "complaints.address",
            "fbl@esp.example",
            lambda s: (
                str(getattr(options.feedback_options(s), "address", "")),
                {str(one) for one in reception(s).feedback},
            ),
            ("fbl@esp.example", {"fbl@esp.example"}),
        ),
        ("complaints.days", 3, lambda s: options.thresholds(s).days, 3),
        ("complaints.least", 50, lambda s: options.thresholds(s).least, 50),
        ("complaints.warn_percent", 0, lambda s: options.thresholds(s).warn, None),
        ("complaints.slow_percent", 0.25, lambda s: options.thresholds(s).slow, 0.0025),
        ("complaints.hold_percent", 1, lambda s: options.thresholds(s).hold, 0.01),
        (
            "complaints.slow_to",
            "500/h",
            lambda s: options.transfer_options(s).slow_to,
            Rate(count=500, per=timedelta(hours=1)),
        ),
        ("returns.max_connections", 7, lambda s: listener(s).max_connections, 7),
        (
            "returns.max_connections_per_address",
            7,
            lambda s: listener(s).max_connections_per_address,
            7,
        ),
        (
            "returns.connections_per_minute_per_address",
            7,
            lambda s: listener(s).connections_per_minute_per_address,
            7,
        ),
        (
            "returns.messages_per_minute_per_address",
            7,
            lambda s: listener(s).messages_per_minute_per_address,
            7,
        ),
        (
            "returns.max_buffered_size",
            "99MiB",
            lambda s: listener(s).max_buffered_octets,
            99 << 20,
        ),
        ("returns.readers", 3, lambda s: options.reading_options(s).readers, 3),
        ("returns.reader_timeout", "5s", lambda s: reader(s).seconds, seconds(5)),
        ("returns.reader_processor", "3s", lambda s: reader(s).cpu_seconds, 3),
        (
            "returns.reader_memory",
            "512MiB",
            lambda s: reader(s).memory_octets,
            512 << 20,
        ),
    ):
        yield Felt(option, value, seen, expected)


def _one(section: Any) -> Any:
    return section[0] if isinstance(section, tuple) else section


def _lists() -> Iterator[Felt]:
    def first_route(settings: Settings) -> Any:
        return options.routes(settings)[0]

    def listener(settings: Settings) -> Any:
        return settings.listeners[0]

    def the_pool(settings: Settings) -> Any:
        return list(options.pools(settings).by_name.values())[-1]

    def source(settings: Settings) -> Any:
        return settings.identity().sources[0]

    hop = NextHop(host=ip_address("::1"), port=26)
    yield from (
        Felt(
            "listeners.address",
            "127.0.0.2",
            lambda s: options.resolve_options(s).own_listeners,
            frozenset({(ip_address("127.0.0.2"), 2525)}),
        ),
        Felt("listeners.chunking", False, lambda s: listener(s).chunking, False),
        Felt(
            "listeners.client_ca_file",
            "ca.pem",
            lambda s: listener(s).client_ca_file,
            Path("ca.pem"),
        ),
        Felt(
            "listeners.proxies",
            ["10.0.0.5"],
            lambda s: listener(s).proxies,
            (ip_network("10.0.0.5/32"),),
        ),
        Felt("listeners.port", 2526, lambda s: listener(s).port, 2526),
        Felt("sources.name", "other", lambda s: source(s).name, "other"),
        Felt(
            "sources.public_address",
            "192.0.2.1",
            lambda s: source(s).public_address,
            ip_address("192.0.2.1"),
        ),
        Felt(
            "sources.ehlo_name",
            "m.esp.example",
            lambda s: source(s).ehlo_name,
            "m.esp.example",
        ),
        Felt(
            "sources.address",
            "127.0.0.3",
            lambda s: source(s).address,
            ip_address("127.0.0.3"),
        ),
        Felt("groups.name", "huge", lambda s: options.groups(s)[0].name, "huge"),
        Felt(
            "groups.mx",
            ["Mail.Big.Example"],
            lambda s: options.groups(s)[0].suffixes,
            ("mail.big.example",),
        ),
        Felt("groups.connections", 3, lambda s: options.groups(s)[0].connections, 3),
        Felt(
            "groups.rate",
            "600/m",
            lambda s: options.groups(s)[0].rate,
            Rate(count=600, per=seconds(60)),
        ),
        Felt("pools.name", "vip", lambda s: the_pool(s).name, "vip"),
        Felt("pools.weights", [7], lambda s: the_pool(s).sources[0][1], 7),
        Felt(
            "pools.domains",
            ["news.customer.example"],
            lambda s: dict(options.pools(s).of_domain),
            {"news.customer.example": "plain"},
        ),
        Felt(
            "routes.domain",
            ".b.example",
            lambda s: first_route(s).pattern,
            ".b.example",
        ),
        Felt("routes.next_hop", "[::1]:26", lambda s: first_route(s).to.hops, (hop,)),
        Felt("routes.tls", "none", lambda s: first_route(s).to.tls, TlsPolicy.NONE),
    )


# What two keys decide together, or files: tested by name below.
ELSEWHERE = {
    "secrets.master_key_file",
    "secrets.master_key_env",
    "secrets.verp_key_version",
    "listeners.tls",
    "pools.sources",
    "tls.certificate_file",
    "tls.private_key_file",
}


def _publish() -> Iterator[Felt]:
    two = ["192.0.2.53", "192.0.2.54"]
    two_ways = "mailto:tls@esp.example, https://mta.esp.example/tls"
    for name, value, expected in (
        ("server", "127.0.0.1:5354", (ip_address("127.0.0.1"), 5354)),
        ("key_name", "soboo", "soboo"),
        ("key_file", "tsig.key", Path("tsig.key")),
        ("create", ["create", "{zone}"], ("create", "{zone}")),
        ("withdraw", ["withdraw", "{zone}"], ("withdraw", "{zone}")),
        ("directory", "zones", Path("zones")),
        ("reload", ["knotc", "reload"], ("knotc", "reload")),
        ("name_servers", two, tuple(map(ip_address, two))),
        ("certificate_issuers", ["ca.example"], ("ca.example",)),
        ("tls_reports", two_ways, TlsReportsTo.parse(two_ways)),
        ("mta_sts_hosts", two, tuple(map(ip_address, two))),
        ("mta_sts_mode", "enforce", "enforce"),
    ):
        yield Felt(
            f"publish.{name}",
            value,
            lambda s, f=name: getattr(s.publish, f),
            expected,
        )


def _events() -> Iterator[Felt]:
    target = SyslogTarget.parse("tcp:192.0.2.7:601")
    yield Felt("events.file", "e.jsonl", lambda s: s.events.file, Path("e.jsonl"))
    yield Felt("events.syslog", "tcp:192.0.2.7:601", lambda s: s.events.syslog, target)
    of_webhooks = options.webhook_options
    yield Felt("webhooks.ports", [99], lambda s: of_webhooks(s).ports, (99,))
    yield Felt(
        "webhooks.private_destinations",
        True,
        lambda s: of_webhooks(s).private_destinations,
        True,
    )
    yield Felt("webhooks.timeout", "2s", lambda s: of_webhooks(s).timeout, seconds(2))
    yield Felt(
        "webhooks.parallel_per_webhook", 3, lambda s: of_webhooks(s).connections, 3
    )
    for name, value, expected in (
        ("parallel", 7, 7),
        ("max_waiting", 7, 7),
        ("lifetime", "7d", timedelta(days=7)),
        ("disable_after", "7d", timedelta(days=7)),
    ):
        yield Felt(
            f"webhooks.{name}",
            value,
            lambda s, f=name: getattr(s.webhooks, f),
            expected,
        )


FELT = [
    *_events(),
    *_publish(),
    *_submission(),
    *_delivery(),
    *_rest(),
    *_web(),
    *_returns(),
    *_lists(),
]


def changed(option: str, value: object) -> Settings:
    section, key = option.split(".")
    tables = {**MINIMAL}
    if isinstance(tables.get(section), list):
        tables[section] = [{**tables[section][0], key: value}]
    else:
        tables[section] = {**tables.get(section, {}), key: value}
    return Settings(**tables)


@pytest.mark.parametrize("felt", FELT, ids=lambda felt: felt.option)
def test_each_option_changes_what_its_room_is_told(felt: Felt) -> None:
    assert felt.seen(Settings(**MINIMAL)) != felt.expected
    assert felt.seen(changed(felt.option, felt.value)) == felt.expected


def test_no_option_is_without_a_test_of_its_effect() -> None:
    assert {felt.option for felt in FELT} | ELSEWHERE == {
        f"{section}.{key}"
        for section, model in sections()
        for key in model.model_fields
    }


def test_rooms_get_their_own_defaults_where_nothing_is_set() -> None:
    settings = Settings(**{**MINIMAL, "routes": [], "pools": [], "groups": []})
    host = Domain.parse("mta1.esp.example")
    assert options.acceptance_options(settings) == AcceptanceOptions(host_name=host)
    assert options.listener_options(settings) == ListenerOptions()
    assert options.client_options(settings).timeouts == SmtpTimeouts()
    ours = frozenset({host, Domain.parse("mx.esp.example")})
    listener = frozenset({(ip_address("127.0.0.1"), 2525)})
    assert options.transfer_options(settings) == TransferOptions(
        resolve=ResolveOptions(own_names=ours, own_listeners=listener)
    )


def test_a_listener_on_all_addresses_is_ours_at_each_source() -> None:
    tables = {
        **MINIMAL,
        "listeners": [{"address": "0.0.0.0", "port": 25}],
        "tls": {"certificate_file": "c", "private_key_file": "k"},
    }
    tables["sources"] = [{**MINIMAL["sources"][0], "address": "127.0.0.9"}]
    listeners = options.resolve_options(Settings(**tables)).own_listeners
    assert listeners == {
        (ip_address(text), 25) for text in ("0.0.0.0", "127.0.0.1", "127.0.0.9")
    }


def test_one_worker_a_core_is_the_default() -> None:
    assert Settings(**MINIMAL).worker_count >= 1


def test_a_route_by_mx_stands_out_from_a_wider_route() -> None:
    routes = [
        {"domain": "*", "next_hop": ["127.0.0.1:26", "smarthost.example"]},
        {"domain": "b.example", "next_hop": "mx"},
    ]
    table = options.routes(Settings(**{**MINIMAL, "routes": routes}))
    assert isinstance(table[0].to, RouteTo)
    assert [str(hop) for hop in table[0].to.hops] == [
        "127.0.0.1:26",
        "smarthost.example:25",
    ]
    assert table[1].to == Mx()


def test_pools_have_the_sources_that_they_name() -> None:
    one = MINIMAL["sources"][0]
    tables = {
        **MINIMAL,
        "sources": [one, {**one, "name": "second"}],
        "pools": [
            {"name": "vip", "sources": ["second"]},
            {"name": "both", "sources": ["default", "second"], "weights": [3, 1]},
        ],
    }
    made = options.pools(Settings(**tables)).by_name
    shares = {
        name: [(source.name, weight) for source, weight in pool.sources]
        for name, pool in made.items()
    }
    assert shares == {
        "default": [("default", 1), ("second", 1)],
        "vip": [("second", 1)],
        "both": [("default", 3), ("second", 1)],
    }


# ---- config/soboo.toml


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Settings.model_fields.items():
        kind: Any = field.annotation
        yield name, get_args(kind)[0] if get_origin(kind) is tuple else kind


def documented() -> Iterator[tuple[str, str, str]]:
    """(section, what stands before the `=`, line without the comment mark)."""
    section = ""
    for line in DOCUMENTED.read_text().splitlines():
        if head := re.fullmatch(r"#?\[\[?(\w+)\]?\]", line):
            section = head[1]
        elif found := re.fullmatch(r"# Example: ((\w+) = .+)", line):
            yield section, f"example {found[2]}", found[1]
        elif found := re.fullmatch(r"(#?)((\w+) = .+)", line):
            kind = "default" if found[1] else "set"
            yield section, f"{kind} {found[3]}", found[2]


def test_the_documented_file_loads_as_it_stands() -> None:
    settings = load(DOCUMENTED)
    assert settings.listeners[0].tls is ListenerTls.STARTTLS
    assert settings.secrets.master_key_file == DOCUMENTED.parent / "master.key"


def test_every_option_is_documented_with_an_example() -> None:
    lines = {(section, what) for section, what, _ in documented()}
    for section, model in sections():
        for key in model.model_fields:
            assert (section, f"example {key}") in lines, f"{section}.{key}"


def test_nothing_is_documented_that_is_no_option() -> None:
    known = {(section, key) for section, m in sections() for key in m.model_fields}
    for section, what, _ in documented():
        assert (section, what.split()[1]) in known


def test_documented_defaults_are_the_defaults() -> None:
    models = dict(sections())
    compared = 0
    for section, what, line in documented():
        kind, key = what.split()
        field = models[section].model_fields[key]
        if kind == "default" and not field.is_required():
            shown = tomllib.loads(line)[key]
            assert written(field.default) == written_in_toml(shown), line
            compared += 1
    assert compared > 60


def written_in_toml(value: object) -> str:
    match value:
        case list():
            return "[" + ", ".join(map(written_in_toml, value)) + "]"
        case str():
            sizes = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
            if value[-3:] in sizes:
                return str(int(value[:-3]) * sizes[value[-3:]])
            return f'"{value}"'
        case _:
            return written(value)


EXAMPLES = [one for one in documented() if one[1].startswith("example")]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one[2][:30])
def test_documented_examples_are_valid_and_not_the_default(
    example: tuple[str, str, str],
) -> None:
    section, what, line = example
    key = what.split()[1]
    given = changed(f"{section}.{key}", tomllib.loads(line)[key])
    value = getattr(given, section)
    one = value[0] if isinstance(value, tuple) else value
    assert getattr(one, key) != type(one).model_fields[key].default
