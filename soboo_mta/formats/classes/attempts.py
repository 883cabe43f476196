"""The class of an attempt, from what is kept of it: its reason, reply and hosts. Pure."""

from typing import Final

from soboo_mta.formats.classes.rules import KEPT, RuleSet, said_in
from soboo_mta.mail.bounce_class import BounceClass
from soboo_mta.mail.outcome import Reason

_WORDS: Final = frozenset(  # with the peer's words, or ours on what the peer lacks
    (
        Reason.REPLY,
        Reason.BLOCKED,
        Reason.CONTENT_BLOCKED,
        Reason.UNSUPPORTED,
        Reason.LIFETIME,
    )
)
_SILENT: Final = {  # without an answer: the words are ours, and the reason says it
    Reason.DNS_TEMPORARY: BounceClass.DNS_FAILURE,
    Reason.DNS_PERMANENT: BounceClass.INVALID_DOMAIN,
    Reason.LOOP: BounceClass.LOOP,
    Reason.CONNECTION: BounceClass.NO_ANSWER,
    Reason.TIMEOUT: BounceClass.NO_ANSWER,
    Reason.TLS: BounceClass.TLS_REQUIRED,
    Reason.PROTOCOL: BounceClass.PEER_TROUBLE,
}


def class_of(
    rules: RuleSet, reason: Reason, reply: str, *hosts: str
) -> BounceClass | None:
    """Return why an attempt that ended with `reason` did not deliver; None where nobody
    refused: it was held, suppressed or broken off by us, or not made yet.

    `reply` as it is kept ("550 5.1.1 no such user"); `hosts` are names of who said it.
    """
    if reason not in _WORDS:
        return _SILENT.get(reason)
    found = rules.classify(said_in(reply[:KEPT], hosts=hosts)).bounce_class
    if reason is Reason.LIFETIME and found is BounceClass.UNKNOWN:
        return BounceClass.EXPIRED  # else the last answer says more
    return found
