"""Events that are not attempts: what changed, by whom, about what."""

import json
from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy import insert

from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.ids import MessageId, TenantId
from soboo_mta.store.schema import event
from soboo_mta.store.unit import Statement


class EventKind(StrEnum):
    """What an event says; each is a fact that has happened."""

    MESSAGE_CORRUPT = "message-corrupt"  # could not be read back; set aside
    MESSAGE_HELD = "message-held"  # by the operator's hand
    MESSAGE_RELEASED = "message-released"
    MESSAGE_RETRIED = "message-retried"  # deferred mail was made due by hand
    MESSAGE_CANCELLED = "message-cancelled"
    REPORT_MADE = "report-made"  # to the sender, about recipients of the message
    REPORT_WITHHELD = "report-withheld"  # no address it may go to, or no operator's key
    REPORT_FAILED = "report-failed"  # it, or what was forwarded, could not be delivered
    GATE_CLOSED = "gate-closed"  # a domain's or tenant's mail waits
    GATE_OPENED = "gate-opened"
    REROUTE_ADDED = "reroute-added"  # mail goes to next hops that an operator chose
    REROUTE_UNDONE = "reroute-undone"
    DOMAIN_ADDED = "domain-added"
    DOMAIN_VERIFIED = "domain-verified"  # ownership was proved for the first time
    DOMAIN_CHANGED = "domain-changed"  # what DNS shows of it; the detail says how
    DOMAIN_DOUBTED = "domain-doubted"  # a receiver says that its mail does not authenticate: looked at
    DOMAIN_RELEASED = "domain-released"  # given up by its tenant
    ZONE_CREATED = "zone-created"  # a delegated zone is on the name server
    ZONE_MENDED = "zone-mended"  # somebody else had changed it; the detail says how
    # How things stand, for people (docs/domain-states.md); the detail has the moves.
    CAPABILITY_VERIFIED = "capability-verified"  # good for the first time
    DOMAIN_STALLED = "domain-stalled"  # a needed capability was not good for 72 hours
    DOMAIN_AT_RISK = "domain-at-risk"  # a capability was lost; within the grace
    DOMAIN_BROKEN = "domain-broken"  # the grace is over
    DOMAIN_RECOVERED = "domain-recovered"  # good again
    DOMAIN_FLAPPING = (
        "domain-flapping"  # comes and goes; nothing is told until it holds
    )
    RECORD_CHANGED = "record-changed"  # the same of records, whichever way
    ZONE_RECORD_ADDED = "zone-record-added"  # the customer's own, or its DMARC policy
    ZONE_RECORD_REMOVED = "zone-record-removed"
    NAME_DANGLING = "name-dangling"  # of a released domain: it still leads to us
    NAME_CLEARED = "name-cleared"  # it no longer does
    KEY_CREATED = "key-created"
    KEY_ACTIVATED = "key-activated"
    KEY_REVOKED = "key-revoked"
    KEY_WITHDRAWN = "key-withdrawn"
    TENANT_ADDED = "tenant-added"
    TENANT_SUSPENDED = "tenant-suspended"
    TENANT_RESUMED = "tenant-resumed"
    CREDENTIAL_ADDED = "credential-added"
    CREDENTIAL_CHANGED = "credential-changed"  # a certificate was bound or unbound
    CREDENTIAL_REVOKED = "credential-revoked"
    SOURCE_BLOCKED = "source-blocked"  # a site refuses the address we send from
    SOURCE_PAUSED = "source-paused"  # its address is not on this host
    CONTENT_BLOCKED = "content-blocked"  # a site refuses what a tenant sends
    RETURNED = "returned"  # delivered, and came back for good
    RETURN_TOLD = "return-told"  # a report of delay, relaying or delivery came
    COMPLAINED = "complained"
    COMPLAINTS_ROSE = "complaints-rose"  # to a level: warned of, slowed, held
    COMPLAINTS_FELL = "complaints-fell"  # to a lower one
    COMPLAINTS_SPARED = "complaints-spared"  # by an operator: its mail goes meanwhile
    AUTO_REPLIED = "auto-replied"
    CHALLENGED = "challenged"  # the recipient's system wants the sender to prove itself
    REPLIED = "replied"  # somebody answered a message's reverse-path
    UNSUBSCRIBED = "unsubscribed"
    RETURN_UNRECOGNISED = "return-unrecognised"  # kept; nobody knows what it is
    RETURN_FORWARDED = "return-forwarded"  # it is in the queue, on its way home
    FORWARD_WITHHELD = "forward-withheld"  # a return that should go home; why not
    TLS_FAILING = "tls-failing"  # others' sessions with a bounce host's MX; once a day
    DMARC_FAILED = "dmarc-failed"  # a report: mail from our addresses does not pass
    REPLAY_SUSPECTED = "replay-suspected"  # more is reported than was sent
    DMARC_POLICY_CAN_BE_RAISED = "dmarc-policy-can-be-raised"  # by the last 30 days
    SUPPRESSION_ADDED = "suppression-added"
    SUPPRESSION_REMOVED = "suppression-removed"
    WEBHOOK_ADDED = "webhook-added"
    WEBHOOK_CHANGED = "webhook-changed"  # a new secret signs what it is told
    WEBHOOK_DISABLED = "webhook-disabled"  # by hand, by its own 410, or it failed
    WEBHOOK_ENABLED = "webhook-enabled"
    WEBHOOK_REMOVED = "webhook-removed"


def recorded(
    kind: EventKind,
    *,
    at: int,
    actor: str,
    tenant: TenantId | None = None,
    domain: DnsName | None = None,
    message_id: MessageId | None = None,
    detail: Mapping[str, object] | None = None,
) -> Statement:
    """Return the statement that records an event at `at` (unix ms).

    `actor` is who or what did it ("cli", "monitor"). `detail` is JSON-ready and holds no
    secret and no message content.
    """
    row = {
        "at": at,
        "kind": kind.value,
        "tenant_id": None if tenant is None else str(tenant),
        "domain": None if domain is None else str(domain),
        "message_id": None if message_id is None else int(message_id),
        "actor": actor,
        "detail": json.dumps(detail or {}, sort_keys=True),
    }
    return Statement(_INSERT, (row,))


_INSERT = insert(event)
