"""Suppressions for tests: an entry with what nobody cares about filled in."""

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.bounce_class import (
    BounceClass,
    Charged,
    ClassFacts,
    Classified,
    Consequence,
)
from soboo_mta.tenancy.suppression import Suppression, SuppressionReason
from tests.fakes.tenancy import ACME

BOB = parse_mailbox("Bob@There.Example")


def entry(address: Mailbox = BOB, **values: object) -> Suppression:
    plain: dict[str, object] = {
        "tenant": ACME,
        "address": address,
        "reason": SuppressionReason.MANUAL,
        "because": "asked to",
        "actor": "test",
        "since": 7,
    }
    return Suppression(**(plain | values))  # type: ignore[arg-type]  # a test's shorthand


def classified(
    consequence: Consequence = Consequence.SUPPRESS,
    charged: Charged = Charged.RECIPIENT,
) -> Classified:
    return Classified(
        bounce_class=BounceClass.INVALID_MAILBOX,
        facts=ClassFacts(
            says="There is no such mailbox.", charged=charged, consequence=consequence
        ),
    )
