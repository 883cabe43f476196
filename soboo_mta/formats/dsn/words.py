"""What a report says to people: what happened, why, and what can be done about it.

Plain sentences in 72 columns. A domain whose DNS broke is told which record to mend.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from email.utils import format_datetime
from textwrap import wrap

from soboo_mta.formats.dsn.status import RecipientStatus, one_line
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.outcome import Reason
from soboo_mta.mail.returned import Action

_WIDTH = 72
_MAX_SAID = 900  # characters of a reply, or of the records to mend
_BROKEN = frozenset({Reason.DOMAIN_BROKEN, Reason.NO_USABLE_KEY})
_WHY = {
    Reason.DNS_PERMANENT: "its domain does not exist or takes no mail: check the"
    " spelling of the address",
    Reason.DNS_TEMPORARY: "the DNS of its domain gave no answer",
    Reason.LOOP: "its domain leads back to this system or to a private address: its"
    " administrator has to correct its MX records",
    Reason.CONNECTION: "the mail hosts of its domain could not be reached",
    Reason.TLS: "its mail host offers no secure connection where one is required",
    Reason.TIMEOUT: "its mail host did not answer in time",
    Reason.PROTOCOL: "what its mail host answered was not SMTP",
    Reason.UNSUPPORTED: "its mail host lacks what this message needs",
    Reason.TENANT_SUSPENDED: "the account it was sent from is suspended: ask your"
    " provider",
    Reason.OPERATOR_HOLD: "the operator of this system held it",
    Reason.SLOWED: "mail of your account leaves slowly for now, and its turn did not come"
    " in time: ask your provider",
    Reason.COMPLAINTS: "too many recipients complained of such mail: ask your provider",
}
_OTHERWISE = "this system could not deliver it"


def subject(statuses: Sequence[RecipientStatus]) -> str:
    """Return the Subject; what failed weighs most."""
    actions = {one.action for one in statuses}
    if Action.FAILED in actions:
        return "Your message could not be delivered"
    if Action.DELAYED in actions:
        return "Your message is delayed"
    if Action.RELAYED in actions:
        return "Your message was passed on"
    return "Your message was delivered"


def explained(
    statuses: Sequence[RecipientStatus],
    *,
    reporting_mta: Domain,
    header_message_id: str,
    author_domain: Domain,
    arrived_at: datetime,
) -> str:
    """Return the text for people, lines ended by CRLF."""
    about = f"your message {header_message_id}, which was taken here on"
    lines = [
        f"This is the mail system at {reporting_mta}.",
        "",
        *_wrapped(f"It is about {about} {format_datetime(arrived_at)}."),
    ]
    for action, opening in _OPENINGS.items():
        of_it = [one for one in statuses if one.action is action]
        if of_it:
            lines += ["", *_wrapped(opening)]
        for one in of_it:
            lines += ["", f"<{one.recipient}>"]
            told = f"{_sentence(one, author_domain)} {one.meaning}".rstrip()
            lines += _wrapped(told, indent="    ")
            lines += _quoted(one)
    return "".join(f"{line}\r\n" for line in lines)


_OPENINGS = {
    Action.FAILED: "It could not be delivered to the following addresses, and will not"
    " be tried again:",
    Action.DELAYED: "It could not be delivered yet to the following addresses. You need"
    " not do anything: it goes on being tried.",
    Action.RELAYED: "It was passed on for the following addresses, to hosts that"
    " report nothing further about it:",
    Action.EXPANDED: "It was passed on to all members of the following lists:",
    Action.DELIVERED: "It was delivered to the following addresses:",
}
_TOOK = {
    Action.RELAYED: "took it",
    Action.EXPANDED: "expanded it",
    Action.DELIVERED: "delivered it",
}


def _sentence(status: RecipientStatus, author_domain: Domain) -> str:
    if status.action in _TOOK:
        host = one_line(status.remote_mta, 255)
        return f"The mail host {host} {_TOOK[status.action]}."
    why = _why(status, author_domain)
    if status.is_expired:
        return f"Its time is over. Last of all, {why}."
    if status.action is Action.DELAYED and status.retry_until is not None:
        return f"Until now, {why}. Tried until {format_datetime(status.retry_until)}."
    return f"{why[:1].upper()}{why[1:]}."


def _why(status: RecipientStatus, author_domain: Domain) -> str:
    if status.reason in _BROKEN:
        return (
            f"the DNS records of {author_domain}, which it was sent from, do not let it"
            " leave authenticated: have the records mended that are named below, and"
            " send it again"
        )
    if status.remote_mta:
        verb = "put it off" if status.reply.is_transient else "refused it"
        return f"the mail host {one_line(status.remote_mta, 255)} {verb}"
    return _WHY.get(status.reason, _OTHERWISE)


def _quoted(status: RecipientStatus) -> Iterator[str]:
    said = one_line(str(status.reply), _MAX_SAID)
    label = "It said" if status.remote_mta else "Cause"
    return iter(_wrapped(f"{label}: {said}", indent="    "))


def _wrapped(text: str, *, indent: str = "") -> list[str]:
    return wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,  # names and records are copied from here
        break_on_hyphens=False,
    )
