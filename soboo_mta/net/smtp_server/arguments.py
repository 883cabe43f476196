"""The arguments of EHLO, MAIL, RCPT and AUTH as values; strict, because what the tenant
check sees must be what is delivered (RFC 5321 §4.1.1, §4.1.2; RFC 1870, RFC 3461 §4,
RFC 4865 §4, RFC 6152, RFC 6531). What a parameter says keeps its case.

Pure. A refusal is raised as Reject with the reply of its command.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from soboo_mta.formats.dsn.parameters import (
    read_envelope_id,
    read_notify,
    read_original_recipient,
    read_returned,
)
from soboo_mta.mail.address import Mailbox, ReversePath, parse_mailbox
from soboo_mta.mail.address import parse_reverse_path as parse_path
from soboo_mta.mail.errors import FormatError, Reject
from soboo_mta.mail.notify import ASKED_NOTHING, Asked, Returned
from soboo_mta.mail.reply import Reply
from soboo_mta.submission import replies

_PATH = re.compile(r'<((?:[^"<>\\]|"(?:[^"\\]|\\.)*+")*+)>(?: +(.*))?', re.DOTALL)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u0080-\U0010ffff]+))?")
_EHLO_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}|\[[A-Za-z0-9:.-]{1,255}\]")
_MAX_SIZE_DIGITS = 20  # RFC 1870 §4
_HOLDFOR = re.compile(r"[0-9]{1,9}", re.ASCII)  # RFC 4865 §4
_HOLDUNTIL = re.compile(  # RFC 3339 §5.6
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_MAIL_KEYWORDS = frozenset(
    ("SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID", "HOLDFOR", "HOLDUNTIL")
)
_RCPT_KEYWORDS = frozenset(("NOTIFY", "ORCPT"))
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailArgument:
    """MAIL FROM. `size` is 0 where the client announced none; `hold` is HOLDFOR's time or
    HOLDUNTIL's moment (UTC)."""

    reverse_path: ReversePath
    size: int = 0
    smtputf8: bool = False
    returned: Returned | None = None
    envelope_id: str = ""
    hold: timedelta | datetime | None = None


def check_ehlo(argument: str) -> None:
    """Raise Reject unless `argument` is a host name or an address literal; names with
    underscores and of one label are let pass, as clients use them."""
    if not _EHLO_NAME.fullmatch(argument):
        raise Reject(replies.BAD_EHLO)


def parse_mail(argument: str) -> MailArgument:
    """Return what stands behind `MAIL `, or raise Reject."""
    path, parameters = _split(argument, "FROM:", replies.MAIL_SYNTAX)
    values = _parameters(parameters) if parameters else {}
    smtputf8 = "SMTPUTF8" in values
    if not smtputf8 and not path.isascii():
        raise Reject(replies.NEEDS_SMTPUTF8)
    if values:
        _judge_mail_parameters(values)
    try:
        reverse_path = parse_path(path)
    except FormatError as error:
        raise Reject(replies.bad_sender(str(error))) from error
    if not values:
        return MailArgument(reverse_path=reverse_path)
    return MailArgument(
        reverse_path=reverse_path,
        size=int(values.get("SIZE", "0")),
        smtputf8=smtputf8,
        returned=_read(read_returned, values.get("RET")),
        envelope_id=_read(read_envelope_id, values.get("ENVID")) or "",
        hold=_hold(values),
    )


def parse_rcpt(argument: str, *, smtputf8: bool) -> tuple[Mailbox, Asked]:
    """Return what stands behind `RCPT `, or raise Reject."""
    path, parameters = _split(argument, "TO:", replies.RCPT_SYNTAX)
    if not smtputf8 and not argument.isascii():
        raise Reject(replies.NEEDS_SMTPUTF8)
    asked = _asked(_parameters(parameters)) if parameters else ASKED_NOTHING
    try:
        return parse_mailbox(path), asked
    except FormatError as error:
        raise Reject(replies.bad_recipient(str(error))) from error


def _split(argument: str, keyword: str, syntax: Reply) -> tuple[str, str]:
    """A space behind the colon is let pass: RFC 5321 has none, many clients send it."""
    if argument[: len(keyword)].upper() != keyword:
        raise Reject(syntax)
    found = _PATH.fullmatch(argument[len(keyword) :].lstrip(" "))
    if found is None:
        raise Reject(syntax)
    return found[1], (found[2] or "").strip(" ")


def _parameters(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in text.split():
        found = _PARAMETER.fullmatch(part)
        if found is None or found[1].upper() in values:
            raise Reject(replies.PARAMETER_SYNTAX)
        values[found[1].upper()] = found[2] or ""
    return values


def _judge_mail_parameters(values: dict[str, str]) -> None:
    """Raise Reject for what is unknown or malformed. AUTH is parsed and not believed
    (RFC 4954 §5)."""
    if not values.keys() <= _MAIL_KEYWORDS:
        raise Reject(replies.MAIL_PARAMETER)
    size = values.get("SIZE", "0")
    if not (size.isdecimal() and size.isascii() and len(size) <= _MAX_SIZE_DIGITS):
        raise Reject(replies.PARAMETER_SYNTAX)
    if "BODY" in values and values["BODY"].upper() not in ("7BIT", "8BITMIME"):
        raise Reject(replies.MAIL_PARAMETER)
    if values.get("SMTPUTF8") or values.get("AUTH") == "":
        raise Reject(replies.PARAMETER_SYNTAX)


def _hold(values: dict[str, str]) -> timedelta | datetime | None:
    """HOLDFOR or HOLDUNTIL (RFC 4865 §4, and its verified erratum 2040)."""
    seconds, moment = values.get("HOLDFOR"), values.get("HOLDUNTIL")
    if seconds is not None and moment is not None:
        raise Reject(replies.TWO_HOLDS)
    if seconds is not None:
        if not _HOLDFOR.fullmatch(seconds):
            raise Reject(replies.BAD_HOLDFOR)
        return timedelta(seconds=int(seconds))
    if moment is None:
        return None
    try:
        if not _HOLDUNTIL.fullmatch(moment):
            raise ValueError(moment)
        return datetime.fromisoformat(moment.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Reject(replies.BAD_HOLDUNTIL) from error


def _asked(values: dict[str, str]) -> Asked:
    if not values.keys() <= _RCPT_KEYWORDS:
        raise Reject(replies.RCPT_PARAMETER)
    return Asked(
        notify=_read(read_notify, values.get("NOTIFY")) or frozenset(),
        orcpt=_read(read_original_recipient, values.get("ORCPT")),
    )


def _read(reader: Callable[[str], T], text: str | None) -> T | None:
    """The value of a DSN parameter, None where it was not given."""
    if text is None:
        return None
    try:
        return reader(text)
    except FormatError as error:
        raise Reject(replies.bad_parameter(str(error))) from error
