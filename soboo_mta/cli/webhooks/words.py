"""Webhooks in words and JSON: the same ones in every command."""

from typing import Annotated

import typer

from soboo_mta.cli.queue.words import moment
from soboo_mta.events.outbox.journal import Delivery
from soboo_mta.events.outbox.webhooks import Webhook

Number = Annotated[int, typer.Argument(metavar="WEBHOOK", help="Its number.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


def state_of(webhook: Webhook) -> str:
    """Return how a webhook does, in one sentence."""
    if webhook.disabled_at is not None:
        return f"disabled {moment(webhook.disabled_at)}: {webhook.disabled_because}"
    if webhook.failing_since is not None:
        return f"failing since {moment(webhook.failing_since)}"
    return "active"


def answer_of(delivery: Delivery) -> str:
    """Return what a delivery was answered."""
    status = "no answer" if delivery.status is None else str(delivery.status)
    return f"{status} {delivery.said}".rstrip()


def webhook_values(webhook: Webhook) -> dict[str, object]:
    """Return a webhook as JSON shows it; there is no secret in it."""
    return {
        "webhook": webhook.number,
        "tenant": webhook.tenant,
        "url": webhook.url,
        "types": webhook.types,
        "created_at": webhook.created_at,
        "since": webhook.since,
        "disabled_at": webhook.disabled_at,
        "disabled_because": webhook.disabled_because,
        "failing_since": webhook.failing_since,
        "dropped": webhook.dropped,
    }


def delivery_values(delivery: Delivery) -> dict[str, object]:
    """Return a delivery as JSON shows it."""
    return {
        "event": delivery.event_id,
        "type": delivery.type,
        "at": delivery.at,
        "attempt": delivery.attempt,
        "status": delivery.status,
        "duration_ms": delivery.duration_ms,
        "said": delivery.said,
    }
