"""Delivery status notifications of RFC 3464's form and RFC 6533's, and what is near it.

Fields that are missing, doubled, in a wrong order, of a wrong charset or in one block are
read as what they must mean; a report without a single recipient is none.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from soboo_mta.formats.dsn.status import one_line
from soboo_mta.formats.returned.parts import (
    Fields,
    Part,
    Parts,
    fields_in,
)
from soboo_mta.formats.returned.sent import sent_in
from soboo_mta.mail.reply import EnhancedStatus
from soboo_mta.mail.returned import Action, Dsn, Reported

_STATUS_PARTS = ("message/delivery-status", "message/global-delivery-status")
_MAX_RECIPIENTS = 500
_MAX_REASON = 1_000
_EXPIRED = re.compile(r"\bexpired\b", re.IGNORECASE)
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")  # RFC 6533 §3: utf-8-addr-xtext
_ACTIONS = {
    **{action.value: action for action in Action},
    "failure": Action.FAILED,
    "fail": Action.FAILED,
    "undeliverable": Action.FAILED,
    "delay": Action.DELAYED,
    "deferred": Action.DELAYED,
    "success": Action.DELIVERED,
}
_BY_FAMILY = {2: Action.DELIVERED, 4: Action.DELAYED, 5: Action.FAILED}


def standard_dsn(parts: Parts) -> Dsn | None:
    """Return what a delivery-status part says; None where there is none that reads.

    A report inside a message that came along is read where the message has none itself.
    """
    found = [part for part in parts.all if part.media in _STATUS_PARTS]
    found.sort(key=lambda part: (part.is_enclosed, part.depth))
    for part in found or _without_a_type(parts):
        blocks = list(_blocks(part.text()))
        recipients = tuple(_as_told(one, parts.notice) for one in _recipients(blocks))
        if recipients:
            about = next((one for one in blocks if not _names_recipient(one)), {})
            about = {**blocks[0], **about}
            return Dsn(
                form="rfc3464",
                recipients=recipients,
                text=parts.said,
                envelope_id=about.get("original-envelope-id", ""),
                reporting_mta=_untyped(about.get("reporting-mta", "")),
                sent=sent_in(parts, within=part),
            )
    return None


def _as_told(one: Reported, notice: str) -> Reported:
    """With what the notice says, where the fields say less. OpenSMTPD gives no
    diagnostic, and calls delayed what has expired: who still tries says until when."""
    told = one if one.diagnostic else replace(one, diagnostic=_reason_in(notice, one))
    is_late = one.action is Action.DELAYED and one.retry_until is None
    if is_late and _is_expiry(one.status) and _EXPIRED.search(told.diagnostic):
        return replace(told, action=Action.FAILED)
    return told


def _reason_in(notice: str, one: Reported) -> str:
    """What stands beside and under the recipient's address, up to an empty line."""
    named = one.recipient and re.search(
        rf"^[ \t]*<?{re.escape(one.recipient)}>?:?[ \t]*", notice, re.MULTILINE | re.I
    )
    if not named:
        return ""
    paragraph = re.split(r"\n[ \t]*\n", notice[named.end() :], maxsplit=1)[0]
    return one_line(paragraph, _MAX_REASON)


def _is_expiry(status: EnhancedStatus | None) -> bool:
    """X.4.7, delivery time expired (RFC 3463 §3.5)."""
    return status is not None and (status.subject, status.detail) == (4, 7)


def time_of(text: str) -> datetime | None:
    """Return the time that a Date-like field says, None where it says none."""
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _without_a_type(parts: Parts) -> Iterable[Part]:
    """Some write the fields into a text part of a multipart/report."""
    if parts.message.media != "multipart/report":
        return ()
    return [part for part in parts.own if part.media.startswith("text/")]


def _blocks(text: str) -> Iterator[Fields]:
    """The blocks between empty lines; where those were lost, a recipient's first field
    begins one."""
    for block in re.split(r"\n[ \t]*\n", text.strip("\n")):
        if fields := fields_in(block):
            if not _is_doubled(block):
                yield fields
                continue
            yield from filter(None, map(fields_in, _cut(block)))


def _is_doubled(block: str) -> bool:
    lowered = f"\n{block.lower()}"
    return lowered.count("\nfinal-recipient") > 1 or (
        "\nfinal-recipient" in lowered and "\nreporting-mta" in lowered
    )


def _cut(block: str) -> list[str]:
    """Before each Original-Recipient, or Final-Recipient that follows none."""
    pieces, has_original = [list[str]()], False
    for line in block.split("\n"):
        name = line.partition(":")[0].strip().lower()
        if name == "original-recipient" or (
            name == "final-recipient" and not has_original
        ):
            pieces.append([])
        has_original = name == "original-recipient"
        pieces[-1].append(line)
    return ["\n".join(piece) for piece in pieces]


def _names_recipient(fields: Fields) -> bool:
    return "final-recipient" in fields or "original-recipient" in fields


def _recipients(blocks: Iterable[Fields]) -> Iterator[Reported]:
    # Where recipients are named, an Action beside none is about the whole message.
    named = [one for one in blocks if _names_recipient(one)]
    of_recipients = named or [one for one in blocks if "action" in one]
    for fields in of_recipients[:_MAX_RECIPIENTS]:
        kind, _, diagnostic = fields.get("diagnostic-code", "").rpartition(";")
        if " " in kind.strip():  # the code had no type, and a semicolon of its own
            diagnostic = fields["diagnostic-code"]
        said = re.split(r"[^\d.]", fields.get("status", "").lstrip(), maxsplit=1)[0]
        status = EnhancedStatus.parse(said) or EnhancedStatus.failure_in(diagnostic)
        action = _action(fields.get("action", ""), status)
        if action is not None:
            yield Reported(
                action=action,
                status=status,
                recipient=_address(fields.get("final-recipient", "")),
                original=_address(fields.get("original-recipient", "")),
                remote_mta=_untyped(fields.get("remote-mta", "")),
                diagnostic=diagnostic.strip(),
                retry_until=time_of(fields.get("will-retry-until", "")),
            )


def _action(said: str, status: EnhancedStatus | None) -> Action | None:
    """Some send "failed (no such user)", some the status alone."""
    word = re.match(r"[a-z]*", said.lower())
    known = _ACTIONS.get(word[0] if word else "")
    if known is None and status is not None:
        return _BY_FAMILY[status.family]
    return known


def _untyped(text: str) -> str:
    """What follows the type: "dns; mx.example" says mx.example."""
    kind, semicolon, rest = text.partition(";")
    return (rest if semicolon and " " not in kind.strip() else text).strip()


def _address(text: str) -> str:
    shown = re.sub(r"\([^()]*\)\s*$", "", _untyped(text)).strip().strip("<>")
    if "\\x{" in shown:
        shown = _ESCAPED.sub(_character, shown)
    return one_line(shown, 320)


def _character(found: "re.Match[str]") -> str:
    code = int(found[1], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else found[0]
