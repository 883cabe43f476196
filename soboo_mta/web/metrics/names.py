"""Every metric: its name, what it means, its labels. docs/operations.md lists the same.

Labels are bounded: reasons and outcomes are closed sets, replies are our own, and of
tenants and next hops the busiest are named.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a number behaves, as Prometheus says it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric. `bounds` are a histogram's, in seconds."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=name, kind=Kind.COUNTER, meaning=meaning, labels=labels)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name=name, kind=Kind.GAUGE, meaning=meaning, labels=labels)


def _histogram(name: str, meaning: str, *bounds: float) -> Metric:
    return Metric(name=name, kind=Kind.HISTOGRAM, meaning=meaning, bounds=bounds)


_QUICK = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

# ---- in

ACCEPTED = _counter(
    "soboo_accepted_messages_total", "Messages that were answered 250 (HTTP: 202)"
)
ACCEPTED_RECIPIENTS = _counter(
    "soboo_accepted_recipients_total", "Their recipients, by tenant", "tenant"
)
ACCEPTED_OCTETS = _counter("soboo_accepted_octets_total", "Their octets")
REFUSED = _counter(
    "soboo_refused_messages_total",
    "Messages refused, by code and enhanced status of the reply",
    "reply",
)
QUOTA_REFUSALS = _counter(
    "soboo_quota_refusals_total", "Messages refused because a quota was used up"
)
FAILED_LOGINS = _counter("soboo_failed_logins_total", "Wrong names or secrets")
ACCEPTANCE = _histogram(
    "soboo_acceptance_seconds",
    "From the end of the checks on a message to its synced commit",
    *_QUICK,
)

# ---- out

SETTLED = _counter(
    "soboo_settled_recipients_total",
    "Attempts by outcome (delivered, deferred, failed, expired, held) and reason",
    "outcome",
    "reason",
)
TENANT_SETTLED = _counter(
    "soboo_tenant_settled_recipients_total", "The same by tenant", "tenant", "outcome"
)
HOST_SETTLED = _counter(
    "soboo_host_settled_recipients_total", "The same by next hop", "host", "outcome"
)
DELIVERY = _histogram(
    "soboo_delivery_seconds",
    "From acceptance to the next hop's 250, of what was delivered",
    *(0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0),
)
LOOKUPS = _counter(
    "soboo_dns_lookups_total",
    "Look-ups for deliveries, our own cache included, by result",
    "result",
)

# ---- of the moment, by each process

CONNECTIONS = _gauge(
    "soboo_connections", "Open connections: smtp and http in, delivery out", "of"
)
IN_MEMORY = _gauge("soboo_recipients_in_memory", "Claimed and not settled yet")
CPU = _counter("soboo_process_cpu_seconds_total", "Of each process", "process")
RESIDENT = _gauge("soboo_process_resident_bytes", "Of each process", "process")
DESCRIPTORS = _gauge("soboo_process_open_fds", "Of each process", "process")

# ---- trouble

COMMIT = _histogram(
    "soboo_commit_seconds", "Of one group of units, the sync included", *_QUICK
)
LEASE_LOSSES = _counter("soboo_lease_losses_total", "Leases that ran out or were taken")
STORE_TROUBLE = _counter(
    "soboo_store_troubles_total", "Standing work that the store did not do"
)
INTERNAL = _counter("soboo_internal_errors_total", "Errors of ours; the log has traces")
BOARD_FULL = _counter(
    "soboo_uncounted_total", "Counts without a place: other figures are too low"
)

# ---- from the store

QUEUE = _gauge("soboo_queue_recipients", "Recipients not settled, by state", "state")
OLDEST = _gauge(
    "soboo_queue_oldest_seconds", "Age of the oldest message, by state", "state"
)
GATES = _gauge("soboo_closed_gates", "Gates that hold mail, by reason", "reason")
DOMAINS = _gauge("soboo_domains", "Sending domains, by state", "state")
DANGLING = _gauge(
    "soboo_dangling_names", "Names of released domains that still lead to us"
)
COMPLAINTS = _gauge(
    "soboo_complaint_levels",
    "Tenants, domains and providers complained of too often, by what is done (warn, slow,"
    " hold)",
    "level",
)
SHARES = _gauge(
    "soboo_capacity_connections",
    "Connections leased to workers, by site; the largest",
    "site",
)
WORKERS = _gauge("soboo_workers", "Workers whose lease holds")
WEBHOOKS = _gauge(
    "soboo_webhooks", "Webhooks, by state (active, failing, disabled)", "state"
)
WEBHOOK_EVENTS = _gauge("soboo_webhook_events", "Events that wait for webhooks")
DROPPED_EVENTS = _gauge(
    "soboo_dropped_events",
    "Events that webhooks were never told, and rows that went before they were read",
)
STORE_UP = _gauge("soboo_store_up", "1 where the store answered the last question")

ALL = tuple(one for one in globals().values() if isinstance(one, Metric))
BY_NAME = {one.name: one for one in ALL}
