"""Settings that are allowed and yet worth knowing: printed by `check-config`, logged at each
start. Pure."""

from collections.abc import Callable, Iterator
from datetime import timedelta

from soboo_mta.ports import TlsPolicy
from soboo_mta.settings.checks import is_in_clear, is_inside, name_of
from soboo_mta.settings.model import Settings

LEAST_UNSUBSCRIBE_LIFE = timedelta(days=30)
"""How long a recipient must be able to unsubscribe after a message (15 USC 7704(a)(3))."""
_GIVE_UP = timedelta(days=4)  # RFC 5321 §4.5.4.1: give up after 4 to 5 days at least
_SMTP_PORT = 25
_DNS_PORT = 53


def warnings(settings: Settings) -> tuple[str, ...]:
    """Return what is allowed and yet worth knowing."""
    return tuple(line for check in _WARNINGS for line in check(settings))


def _private(settings: Settings) -> Iterator[str]:
    if settings.delivery.private_destinations:
        yield (
            "[delivery] private_destinations is on: MX records of strangers may lead"
            " into this host's own networks; right for a lab, wrong for the internet"
        )


def _private_webhooks(settings: Settings) -> Iterator[str]:
    if settings.webhooks.private_destinations:
        yield (
            "[webhooks] private_destinations is on: a customer's URL may lead into this"
            " host's own networks, and in clear; right for a lab, wrong for the internet"
        )


def _harness(settings: Settings) -> Iterator[str]:
    if settings.allows_assume_verified:
        yield (
            "every route ends on loopback or on test sinks: nothing leaves for the"
            " internet, and domains may be assume_verified"
        )


def _ports(settings: Settings) -> Iterator[str]:
    if settings.delivery.port != _SMTP_PORT:
        yield f"[delivery] port is {settings.delivery.port}: MX hosts listen on 25"
    if settings.dns.authoritative_port != _DNS_PORT:
        yield (
            f"[dns] authoritative_port is {settings.dns.authoritative_port}: zones'"
            " own servers listen on 53"
        )


def _public_addresses(settings: Settings) -> Iterator[str]:
    for source in settings.sources:
        if not source.public_address.is_global:
            yield (
                f"[[sources]] {source.name}: public_address {source.public_address} is"
                " not a public one; receivers will see another, and SPF will fail"
            )


def _clear_text(settings: Settings) -> Iterator[str]:
    for listener in settings.listeners:
        if is_in_clear(listener):
            yield (
                f"[[listeners]] {name_of(listener)} is in clear and off loopback: mail of"
                " trusted networks can be read on the way"
            )


def _trust(settings: Settings) -> Iterator[str]:
    for network in settings.submission.trusted_networks:
        if not is_inside(network):
            yield (
                f"[submission] trusted_networks: {network} is public; whoever sits"
                " there sends for every tenant without a password"
            )


def _short_life(settings: Settings) -> Iterator[str]:
    if settings.retry.lifetime < _GIVE_UP:
        yield (
            "[retry] lifetime is under 4 days: a destination that is away over a long"
            " week-end loses mail (RFC 5321 §4.5.4.1)"
        )


def _nowhere_to_post(settings: Settings) -> Iterator[str]:
    reports = settings.publish.tls_reports
    if reports is not None and reports.url and not settings.http_listeners:
        yield (
            f"[publish] tls_reports: there are no [[http_listeners]], so that what is"
            f" posted to {reports.url} does not come here"
        )


def _short_memory(settings: Settings) -> Iterator[str]:
    if settings.retention.keep < LEAST_UNSUBSCRIBE_LIFE:
        yield (
            f"[retention] keep is under {LEAST_UNSUBSCRIBE_LIFE.days}d: unsubscribe"
            " addresses of tenants that have them end as early"
        )


def _weak_tls(settings: Settings) -> Iterator[str]:
    if settings.delivery.tls is TlsPolicy.NONE:
        yield "[delivery] tls is none: all mail to MX hosts leaves in clear"


def _open_monitoring(settings: Settings) -> Iterator[str]:
    monitoring = settings.monitoring
    if monitoring.port is not None and not monitoring.address.is_loopback:
        yield (
            f"[monitoring] {monitoring.address} is off loopback: whoever reaches it reads"
            " how much mail each tenant sends; keep it inside your own network"
        )


_WARNINGS: tuple[Callable[[Settings], Iterator[str]], ...] = (
    _private,
    _private_webhooks,
    _harness,
    _ports,
    _public_addresses,
    _clear_text,
    _trust,
    _short_life,
    _nowhere_to_post,
    _short_memory,
    _weak_tls,
    _open_monitoring,
)
