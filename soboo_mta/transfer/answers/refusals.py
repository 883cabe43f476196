"""What a refusal means beyond its recipient: its class, and a domain that is looked at again
because a receiver says that its mail does not authenticate."""

from soboo_mta.formats.classes.attempts import class_of
from soboo_mta.formats.classes.rules import RuleSet
from soboo_mta.mail.bounce_class import BounceClass, Consequence
from soboo_mta.mail.outcome import Deferred, Failed, Outcome
from soboo_mta.mail.spooled import SpooledMessage
from soboo_mta.store.unit import Statement
from soboo_mta.tenancy.doubts import Doubts
from soboo_mta.transfer.leaving.consequences import Consequences


class Refusals:
    """Of one worker's attempts."""

    def __init__(
        self,
        rules: RuleSet,
        doubts: Doubts,
        consequences: Consequences | None = None,
    ) -> None:
        """`consequences` None: no address is suppressed."""
        self.consequences = consequences
        self._rules = rules
        self._doubts = doubts

    def class_of(self, outcome: Outcome, host: str) -> BounceClass | None:
        """Return why `host` did not take it; None where nobody refused."""
        if not isinstance(outcome, Deferred | Failed):
            return None
        return class_of(self._rules, outcome.reason, str(outcome.reply), host)

    def following(
        self,
        message: SpooledMessage,
        outcome: Outcome,
        bounce_class: BounceClass | None,
        host: str,
    ) -> list[Statement]:
        """Return what is to be committed with the settlement of such an attempt."""
        if bounce_class is None or not isinstance(outcome, Deferred | Failed):
            return []
        facts = self._rules.classes[bounce_class]
        if facts.consequence is not Consequence.CHECK_DNS:
            return []
        return self._doubts.raised(
            message.domain_id,
            message_id=message.message_id,
            actor="transfer",
            detail={"host": host, "reply": str(outcome.reply)},
        )
