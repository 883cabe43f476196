"""From the settings to each room's own options: one function for each of them.

What a room bounds and an operator need not choose keeps the room's default.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from math import ceil

from soboo_mta.net.dns.questions import ResolverOptions
from soboo_mta.net.outlets.webhook import WebhookOptions
from soboo_mta.net.smtp_client import ClientOptions
from soboo_mta.onboarding.check import CheckOptions
from soboo_mta.onboarding.watch.monitor import MonitorOptions
from soboo_mta.onboarding.watch.rotation import RotationOptions
from soboo_mta.onboarding.watch.states import Timers
from soboo_mta.ports import IpAddress, SmtpTimeouts
from soboo_mta.returns.complaints import Thresholds
from soboo_mta.returns.options import (
    ReaderLimits,
    ReadingOptions,
    ReceptionOptions,
    SettlingOptions,
)
from soboo_mta.settings.model import Settings
from soboo_mta.spool.spool import SpoolOptions
from soboo_mta.store.writer import WriterOptions
from soboo_mta.submission.feedback import FeedbackOptions
from soboo_mta.submission.options import (
    AcceptanceOptions,
    HttpOptions,
    InjectOptions,
    ListenerOptions,
)
from soboo_mta.tenancy.directory import DirectoryOptions
from soboo_mta.tenancy.suppression import SoftRule, SuppressionRules
from soboo_mta.tenancy.suppression.view import SuppressionOptions
from soboo_mta.transfer.answers.hints import LONGEST as LONGEST_HINT
from soboo_mta.transfer.answers.troubles import Rests
from soboo_mta.transfer.departure import DepartureOptions
from soboo_mta.transfer.limits.groups import Group
from soboo_mta.transfer.limits.options import TransferOptions
from soboo_mta.transfer.ready.street import ReadyOptions
from soboo_mta.transfer.reporting.due import ReportPolicy
from soboo_mta.transfer.reporting.reports import ReportOptions
from soboo_mta.transfer.routing.finder import ResolveOptions
from soboo_mta.transfer.routing.pools import Pool, Pools
from soboo_mta.transfer.routing.rules import Mx, Route, RouteTo
from soboo_mta.transfer.schedule import RetrySchedule


def writer_options(settings: Settings) -> WriterOptions:
    store = settings.store
    return WriterOptions(queued_units=store.queued_units, readers=store.readers)


def spool_options(settings: Settings) -> SpoolOptions:
    retry = settings.retry
    longest = max(*retry.steps, retry.blocked, retry.greylisted, LONGEST_HINT)
    return SpoolOptions(
        keep=settings.retention.keep,
        min_free=settings.store.min_free,
        longest_wait=longest * (2 + retry.jitter),
    )


def acceptance_options(settings: Settings) -> AcceptanceOptions:
    submission = settings.submission
    return AcceptanceOptions(
        host_name=settings.host_name,
        trusted_networks=submission.trusted_networks,
        max_message_octets=submission.max_message_size,
        max_recipients=submission.max_recipients,
        max_hops=submission.max_hops,
        longest_hold=submission.longest_hold,
        mend_line_ends=submission.mend_line_ends,
        lifetime=settings.retry.lifetime,
        thread_over_octets=submission.thread_over_size,
    )


def listener_options(settings: Settings) -> ListenerOptions:
    submission = settings.submission
    return ListenerOptions(
        max_connections=submission.max_connections,
        max_connections_per_address=submission.max_connections_per_address,
        max_connections_per_credential=submission.max_connections_per_credential,
        connections_per_minute_per_address=submission.connections_per_minute_per_address,
        messages_per_minute_per_address=submission.messages_per_minute_per_address,
        messages_per_minute_per_credential=submission.messages_per_minute_per_credential,
        recipients_per_minute_per_address=submission.recipients_per_minute_per_address,
        recipients_per_minute_per_credential=submission.recipients_per_minute_per_credential,
        max_errors=submission.max_errors,
        max_idle_commands=submission.max_idle_commands,
        max_failed_logins=submission.max_failed_logins,
        max_failed_logins_per_address=submission.max_failed_logins_per_address,
        max_failed_logins_per_user=submission.max_failed_logins_per_user,
        failed_login_window=submission.failed_login_window,
        failed_login_delay=submission.failed_login_delay,
        clear_login_on_loopback=submission.clear_login_on_loopback,
        handshake_timeout=submission.handshake_timeout,
        login_timeout=submission.login_timeout,
        command_timeout=submission.command_timeout,
        data_block_timeout=submission.data_block_timeout,
        data_grace=submission.data_grace,
        min_data_rate=submission.min_data_rate,
        max_buffered_octets=submission.max_buffered_size,
    )


def feedback_options(settings: Settings) -> FeedbackOptions | None:
    """None where no complaint is asked for."""
    complaints = settings.complaints
    if not complaints.sender_id and complaints.address is None:
        return None
    return FeedbackOptions(
        sender=complaints.sender_id,
        address=complaints.address,
        life_ms=settings.signing.return_life // timedelta(milliseconds=1),
    )


def thresholds(settings: Settings) -> Thresholds:
    """From which share of complaints on what is done; 0 percent is never."""
    asked = settings.complaints
    return Thresholds(
        warn=asked.warn_percent / 100 or None,
        slow=asked.slow_percent / 100 or None,
        hold=asked.hold_percent / 100 or None,
        least=asked.least,
        days=asked.days,
    )


def reception_options(settings: Settings) -> ReceptionOptions:
    operator = settings.operator
    names = (operator.domain, operator.bounce_domain, settings.host_name)
    tls_reports = settings.publish.tls_reports
    return ReceptionOptions(
        host_name=settings.host_name,
        own_domains=frozenset((*names, *operator.hosts)),
        feedback=frozenset(
            filter(None, (*settings.returns.feedback, settings.complaints.address))
        ),
        dmarc_reports=frozenset(filter(None, (operator.dmarc_reports,))),
        tls_reports=frozenset(
            filter(None, (tls_reports.mailbox if tls_reports else None,))
        ),
        max_message_octets=settings.returns.max_message_size,
        max_hops=settings.submission.max_hops,
    )


def return_listener_options(settings: Settings) -> ListenerOptions:
    """Of the return listener: patience as on submission, bounds of its own."""
    returns = settings.returns
    return replace(
        listener_options(settings),
        max_connections=returns.max_connections,
        max_connections_per_address=returns.max_connections_per_address,
        connections_per_minute_per_address=returns.connections_per_minute_per_address,
        messages_per_minute_per_address=returns.messages_per_minute_per_address,
        max_buffered_octets=returns.max_buffered_size,
    )


def reader_limits(settings: Settings) -> ReaderLimits:
    returns = settings.returns
    return ReaderLimits(
        seconds=returns.reader_timeout,
        cpu_seconds=ceil(returns.reader_processor.total_seconds()),
        memory_octets=returns.reader_memory,
    )


def settling_options(settings: Settings) -> SettlingOptions:
    return SettlingOptions(
        host_name=settings.host_name,
        bounce_domain=settings.operator.bounce_domain,
        reporters=frozenset(settings.returns.reporters),
    )


def reading_options(settings: Settings) -> ReadingOptions:
    return ReadingOptions(readers=settings.returns.readers)


def inject_options(settings: Settings) -> InjectOptions:
    http = settings.http
    return InjectOptions(max_body_octets=http.max_body_size, max_batch=http.max_batch)


def http_options(settings: Settings) -> HttpOptions:
    """Of the HTTP doors. A request may be twice its body, for the framing of chunks."""
    http = settings.http
    largest = max(http.max_body_size, settings.submission.max_message_size)
    return HttpOptions(
        idle=http.idle_timeout,
        head=http.head_timeout,
        request_octets=2 * largest,
        handshake=settings.submission.handshake_timeout,
        grace=settings.server.stop_within,
    )


def resolver_options(settings: Settings) -> ResolverOptions:
    dns = settings.dns
    return ResolverOptions(
        servers=dns.resolvers,
        timeout=dns.timeout,
        lifetime=dns.lifetime,
        entries=dns.cache_entries,
        max_ttl=dns.max_ttl,
        unanswered_ttl=dns.unanswered_ttl,
        authoritative_port=dns.authoritative_port,
    )


def authoritative_options(settings: Settings) -> ResolverOptions:
    """Options for asking zones' own servers: no resolver stands in for them."""
    return replace(resolver_options(settings), servers=())


def check_options(settings: Settings) -> CheckOptions:
    onboarding = settings.onboarding
    return CheckOptions(
        shortest=onboarding.shortest,
        longest=onboarding.longest,
        while_broken=onboarding.while_broken,
        last_known_good=onboarding.last_known_good,
    )


def timers(settings: Settings) -> Timers:
    """How long domains may be pending or at risk."""
    onboarding = settings.onboarding
    return Timers(
        pending=onboarding.pending,
        grace=onboarding.grace,
        soonest=onboarding.while_broken,
        longest=max(onboarding.while_broken, onboarding.longest),
        stalled=max(onboarding.while_stalled, onboarding.while_broken),
    )


def monitor_options(settings: Settings) -> MonitorOptions:
    return MonitorOptions(at_once=settings.onboarding.at_once)


def directory_options(settings: Settings) -> DirectoryOptions:
    return DirectoryOptions(entries=settings.store.cached_entries)


def suppression_options(settings: Settings) -> SuppressionOptions:
    return SuppressionOptions(ignore_case=settings.suppression.ignore_case)


def suppression_rules(settings: Settings) -> SuppressionRules:
    """What suppresses addresses by itself, and for how long."""
    chosen = settings.suppression
    soft = SoftRule(
        limit=chosen.soft_limit,
        within=chosen.soft_within,
        lasts=chosen.soft_expires,
    )
    return SuppressionRules(
        soft=soft if chosen.soft_limit else None,
        invalid_lasts=chosen.invalid_expires,
    )


def routes(settings: Settings) -> tuple[Route, ...]:
    """Return the routing table in the transfer room's words."""
    return tuple(
        Route(
            pattern=route.domain,
            to=Mx() if route.is_mx else RouteTo(hops=route.hops, tls=route.tls),
        )
        for route in settings.routes
    )


def resolve_options(settings: Settings) -> ResolveOptions:
    delivery = settings.delivery
    return ResolveOptions(
        port=delivery.port,
        routes=routes(settings),
        private_destinations=delivery.private_destinations,
        own_names=frozenset((settings.host_name, *settings.operator.hosts)),
        own_listeners=frozenset(_own_listeners(settings)),
        tls=delivery.tls,
        shortest_ttl=delivery.shortest_ttl,
        longest_ttl=delivery.longest_ttl,
        cached_domains=delivery.cached_domains,
        groups=groups(settings),
        rate=delivery.rate_per_site,
    )


def groups(settings: Settings) -> tuple[Group, ...]:
    """Return the provider groups in the transfer room's words."""
    return tuple(
        Group(
            name=group.name,
            suffixes=group.mx,
            connections=group.connections,
            rate=group.rate,
        )
        for group in settings.groups
    )


def _own_listeners(settings: Settings) -> Iterator[tuple[IpAddress, int]]:
    """Where our listeners are reached; one on all addresses by each source's too."""
    for listener in settings.listeners:
        yield listener.address, listener.port
        for source in settings.sources if listener.address.is_unspecified else ():
            yield source.public_address, listener.port
            if source.address is not None:
                yield source.address, listener.port


def client_options(settings: Settings) -> ClientOptions:
    delivery = settings.delivery
    return ClientOptions(
        timeouts=SmtpTimeouts(
            connect=delivery.connect_timeout,
            banner=delivery.banner_timeout,
            command=delivery.command_timeout,
            data_start=delivery.data_start_timeout,
            data_block=delivery.data_block_timeout,
            data_done=delivery.data_done_timeout,
        ),
        dialogue_octets=settings.trace.dialogue_size,
    )


def ready_options(settings: Settings) -> ReadyOptions:
    delivery = settings.delivery
    return ReadyOptions(
        connections=delivery.connections_per_site,
        first_connections=delivery.first_connections,
        idle=delivery.connection_idle,
        connection_life=delivery.connection_life,
        transactions=delivery.transactions_per_connection,
        host_rest=delivery.host_rest,
    )


def pools(settings: Settings) -> Pools:
    """Return the pools in the transfer room's words; all sources are the default one
    unless a pool has that name."""
    sources = {source.name: source for source in settings.identity().sources}
    made = Pools.of(tuple(sources.values()))
    by_name = {
        pool.name: Pool(
            name=pool.name,
            sources=tuple((sources[name], weight) for name, weight in pool.weighted),
        )
        for pool in settings.pools
    }
    of_domain = {
        domain: pool.name for pool in settings.pools for domain in pool.domains
    }
    return Pools(by_name={**made.by_name, **by_name}, of_domain=of_domain)


def rotation_options(settings: Settings) -> RotationOptions:
    return RotationOptions(pause=settings.signing.look_every)


def departure_options(settings: Settings) -> DepartureOptions:
    signing = settings.signing
    return DepartureOptions(
        signature_life=signing.signature_life,
        return_life=signing.return_life,
        unsubscribe_life=settings.retention.keep,
        traced_tenants=frozenset(settings.trace.tenants),
        traced_destinations=frozenset(settings.trace.destinations),
    )


def transfer_options(settings: Settings) -> TransferOptions:
    delivery = settings.delivery
    return TransferOptions(
        resolve=resolve_options(settings),
        ready=ready_options(settings),
        departure=departure_options(settings),
        retry=retry_schedule(settings),
        recipients=delivery.recipients_in_memory,
        octets=delivery.content_in_memory,
        rests=Rests(
            site=delivery.site_rest,
            blocked=delivery.blocked_rest,
            tenant=delivery.content_rest,
            source=delivery.source_rest,
        ),
        slow_to=settings.complaints.slow_to,
        pools=pools(settings) if settings.pools else None,
    )


def retry_schedule(settings: Settings) -> RetrySchedule:
    retry = settings.retry
    return RetrySchedule(
        steps=retry.steps,
        greylisted=retry.greylisted,
        blocked=retry.blocked,
        lifetime=retry.lifetime,
        jitter=retry.jitter,
    )


def report_options(settings: Settings) -> ReportOptions:
    reports = settings.reports
    return ReportOptions(
        reporting_mta=settings.host_name,
        domain=settings.operator.domain,
        policy=ReportPolicy(
            warn_of_delay=reports.warn_of_delay, delay_after=reports.delay_after
        ),
        max_returned=reports.max_returned,
        lifetime=settings.retry.lifetime,
    )


def webhook_options(settings: Settings) -> WebhookOptions:
    webhooks = settings.webhooks
    return WebhookOptions(
        ports=webhooks.ports,
        timeout=webhooks.timeout,
        connections=webhooks.parallel_per_webhook,
        private_destinations=webhooks.private_destinations,
    )


def verp_keys(settings: Settings) -> tuple[dict[int, bytes], int]:
    """Return the keys that open reverse-paths, by version, and the version that signs.

    Raises SecretError when there is no master key.
    """
    master, current = settings.master_key(), settings.secrets.verp_key_version
    return {
        version: master.verp_key(version) for version in range(current + 1)
    }, current
