"""Bounces that are no RFC 3464 report: those of old, of gateways and of mailbox providers.

First what is certain (Exim's X-Failed-Recipients, qmail's paragraphs), then flufl.bounce's
detectors, then what a mailer daemon says in words. Whoever is named, the text that stands
beside is the diagnostic that classification reads.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from email import message_from_bytes

from flufl.bounce import all_failures

from soboo_mta.formats.dsn.status import one_line
from soboo_mta.formats.returned.parts import MAX_TEXT, Parts
from soboo_mta.formats.returned.sent import sent_in
from soboo_mta.mail.reply import EnhancedStatus
from soboo_mta.mail.returned import Action, Dsn, Reported

_MAX_PARSED = 262_144  # octets given to the detectors, which try each line many times
_MAX_RECIPIENTS = 100
_AROUND = 700  # characters behind an address that are about it
_SURE = 3  # signs of a mailer daemon that need no words beside
_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]+(?:\.[\w-]+){0,8}")
_DAEMON = re.compile(
    r"mailer[-_.]?daemon|postmaster|mail ?(delivery|system|delivery subsystem|"
    r"administrator)|maildaemon|mail[-_]?admin|mailerdaemon|<>|bounce|mdaemon|"
    r"no-?reply-?\w*@.*(mail|smtp|mx)|internet mail|system administrator",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"undeliver|returned mail|return(ed|ing)? (message|to sender)|delivery (status|"
    r"failure|failed|notification|has failed|report|problem|error|delayed|incomplete|"
    r"unsuccessful|attempt)|failure notice|mail (delivery|(system )?error|could not)|"
    r"(could|can) ?not be delivered|non.?deliver|not delivered|nondeliverable|"
    r"user unknown|mail failed|message status|unzustellbar|nicht zugestellt|"
    r"non remis|échec|no (se pudo|entregado)|devuelto|impossibile|rejected|"
    r"warning: (message|could not)|message (delayed|rejected|blocked)|mail not|"
    r"problem(s|as)? (with|delivering|de entrega)|returned e-?mail|bounce|"
    r"NDN|退信|配信|送信",
    re.IGNORECASE,
)
_WHY = re.compile(  # a code, or words that only a reason has
    r"\b[45]\d\d[ -](?:\d\.\d{1,3}\.\d{1,3}\b|\S)|(?<![\w.])[45]\.\d{1,3}\.\d{1,3}(?!\w|\.\w)"
    r"|user unknown|unknown user|no such (?:user|mailbox|account|recipient|address|person)"
    r"|(?:not|no) (?:a )?(?:valid|known|registered|local) (?:user|mailbox|recipient|address)"
    r"|(?:mailbox|account|quota|user|address|recipient)(?:[^.\n]|\.\S){0,60}(?:full"
    r"|exceeded|unknown|not (?:found|exist|available|listed|known|valid)|disabled|inactive"
    r"|invalid|does(?:n't| not) exist|doesn't have|closed|suspended)"
    r"|host (?:unknown|not found)|unroute?able|over ?quota|timed? ?out|virus"
    r"|not recogni[sz]ed|full mailbox|command died|not been collected|delivery point"
    r"|(?:invalid|bad|illegal) (?:\S+ ){0,2}(?:user|mailbox|address|recipient)"
    r"|name service error|permission denied|could not find a (?:gateway|route)"
    r"|aborted after|did not (?:exactly )?match"
    r"|connection refused|relay(?:ing)? (?:access )?(?:denied|not permitted)",
    re.IGNORECASE,
)
_FAILURE_WORDS = re.compile(  # words that say that it failed
    r"(?:could|can) ?not (?:be )?(?:deliver|reach|locate|find)"
    r"|unable to (?:deliver|relay|reach)|undeliverable|delivery (?:to|of|has|failed)"
    r"|not delivered|wasn.t able to deliver|permanent(?:ly)? (?:fatal )?(?:error|failure)"
    r"|not permitted to relay|nicht zugestellt|rejected|blocked|spam",
    re.IGNORECASE,
)
_DELAYED = re.compile(
    r"(will|continue|keep)[^.\n]{0,40}(retr|try)|delayed|still (undelivered|trying|"
    r"being retried)|not yet (been )?delivered|THIS IS A WARNING MESSAGE ONLY|"
    r"do not need to re-?send|temporar(y|ily) (un|fail|could)",
    re.IGNORECASE,
)
_GAVE_UP = re.compile(
    r"giv(e|en|ing) up|will not (be )?(retr|try)|permanent|returned to sender|"
    r"(retry|delivery) time ?(out|exceeded)|retry timeout|expired",
    re.IGNORECASE,
)


def other_bounce(parts: Parts, *, is_from_null: bool) -> Dsn | None:
    """Return what a bounce of another form says, None where this is none.

    `is_from_null`: it came with the null reverse-path, as a report must (RFC 3464 §2).
    """
    own = parts.message
    if failed := own.every("x-failed-recipients"):
        addresses = [one for value in failed for one in _ADDRESS.findall(value)]
        return _dsn("exim", parts, addresses or [""])
    if "This is the qmail-send program" in parts.text[:2_000]:
        addresses = re.findall(r"(?m)^<([^<>\s]{3,320})>:", parts.text)
        if addresses:
            return _dsn("qmail", parts, addresses)
    signs = _signs_of_a_daemon(parts, is_from_null=is_from_null)
    temporary, permanent = _detected(parts) if signs else (set[str](), set[str]())
    if temporary or permanent:
        dsn = _dsn("flufl.bounce", parts, sorted(permanent))
        delayed = _dsn("flufl.bounce", parts, sorted(temporary), Action.DELAYED)
        return _joined(dsn, delayed)
    if signs > 1:
        said = _failing_text(parts)
        if said:
            return _dsn("words", parts, _near_failure(parts, said) or [""], said=said)
    if signs >= _SURE and own.media == "multipart/report":
        return _dsn("empty", parts, [""])  # it says what it is, and lost what it says
    return None


def _signs_of_a_daemon(parts: Parts, *, is_from_null: bool) -> int:
    own = parts.message
    author = own.field("from") or own.field("sender")
    signs = (
        bool(_DAEMON.search(author)) or not author,
        is_from_null or own.field("return-path").strip() == "<>",
        bool(_SUBJECT.search(own.field("subject"))),
        any(part.is_enclosed for part in parts.all),  # the message that came back
    )
    return sum(signs)


def _detected(parts: Parts) -> tuple[set[str], set[str]]:
    """What flufl.bounce finds; a detector that breaks on odd octets has found nothing."""
    # It logs, with a trace, what it raises.
    logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)
    try:
        found = all_failures(message_from_bytes(parts.content[:_MAX_PARSED]))
    except Exception:  # noqa: BLE001 - the library raises whatever its parsing meets
        return set(), set()
    temporary, permanent = ({_text(one) for one in some} for some in found)
    return {one for one in temporary if one}, {one for one in permanent if one}


def _text(address: bytes | str) -> str:
    text = address.decode("latin-1") if isinstance(address, bytes) else address
    return one_line(text.strip("<>"), 320)


def _joined(first: Dsn | None, second: Dsn | None) -> Dsn | None:
    if first is None or second is None:
        return first or second
    recipients = (*first.recipients, *second.recipients)
    return replace(first, recipients=recipients)


def _dsn(
    form: str,
    parts: Parts,
    addresses: Iterable[str],
    action: Action | None = None,
    *,
    said: str = "",
) -> Dsn | None:
    named = tuple(dict.fromkeys(addresses))[:_MAX_RECIPIENTS]
    if not named:
        return None
    recipients = tuple(_reported(parts, one, action, said) for one in named)
    return Dsn(form=form, recipients=recipients, text=parts.said, sent=sent_in(parts))


def _reported(parts: Parts, address: str, action: Action | None, said: str) -> Reported:
    text = said or _about(parts.text, address) or _failing_text(parts)
    return Reported(
        action=action or _action(parts, text),
        status=EnhancedStatus.failure_in(text),
        recipient=address,
        diagnostic=text,
    )


def _action(parts: Parts, about: str) -> Action:
    """A notice of delay says that it goes on; else it ended."""
    words = f"{parts.message.field('subject')}\n{about}\n{parts.text[:4_000]}"
    if _DELAYED.search(words) and not _GAVE_UP.search(words):
        return Action.DELAYED
    return Action.FAILED


def _about(text: str, address: str) -> str:
    """What is said behind the address, up to the next one's paragraph, or on its line:
    where it says why, else where it says that it failed."""
    if not address:
        return ""
    on_line = weaker = ""
    for found in re.finditer(re.escape(address), text[:MAX_TEXT], re.IGNORECASE):
        behind = text[found.end() : found.end() + _AROUND]
        behind = re.split(r"\n\s*\n(?=\s*<?\S+@)|\n--- ", behind)[0]
        behind = one_line(behind.lstrip("'\">:,;) \t\r\n"), _AROUND)
        if _WHY.search(behind):
            return behind
        before = text[max(0, found.start() - _AROUND) : found.start()]
        before = one_line(before.rpartition("\n")[2].rstrip("<:( \t"), _AROUND)
        if not on_line and _WHY.search(before):
            on_line = before
        if not weaker and _FAILURE_WORDS.search(behind):
            weaker = behind
    return on_line or weaker


def _failing_text(parts: Parts) -> str:
    """The first lines that say why it failed, else that it did; "" without any."""
    lines = parts.notice.split("\n")
    for pattern in (_WHY, _FAILURE_WORDS):
        for number, line in enumerate(lines):
            if pattern.search(line[:1_000]):
                return one_line(" ".join(lines[number : number + 4]), _AROUND)
    return ""


def _near_failure(parts: Parts, said: str) -> list[str]:
    """The address in the sentence, or the only one that stands before the original."""
    near = list(_others(said, parts))
    if near:
        return near[:1]
    named = dict.fromkeys(_others(parts.notice, parts))
    return list(named) if len(named) == 1 else []


def _others(text: str, parts: Parts) -> Iterator[str]:
    to = parts.message.field("to").lower()
    for address in _ADDRESS.findall(text):
        if address.lower() not in to and not _DAEMON.search(address):
            yield address
