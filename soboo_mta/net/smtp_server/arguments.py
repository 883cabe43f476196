"""The arguments of EHLO, MAIL, RCPT and AUTH as values; strict, because what the tenant
check sees must be what is delivered (RFC 5321 §4.1.1, §4.1.2; RFC 1870, 6152, 6531).

Pure. A refusal is raised as Reject with the reply of its command.
"""

import re
from dataclasses import dataclass

from soboo_mta.mail.address import Mailbox, ReversePath, parse_mailbox
from soboo_mta.mail.address import parse_reverse_path as parse_path
from soboo_mta.mail.errors import FormatError, Reject
from soboo_mta.mail.reply import Reply
from soboo_mta.submission import replies

_PATH = re.compile(r'<((?:[^"<>\\]|"(?:[^"\\]|\\.)*+")*+)>(?: +(.*))?', re.DOTALL)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u0080-\U0010ffff]+))?")
_EHLO_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}|\[[A-Za-z0-9:.-]{1,255}\]")
_MAX_SIZE_DIGITS = 20  # RFC 1870 §4


@dataclass(frozen=True, slots=True, kw_only=True)
class MailArgument:
    """MAIL FROM. `size` is 0 where the client announced none."""

    reverse_path: ReversePath
    size: int
    smtputf8: bool


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
    size = _judge_mail_parameters(values) if values else 0
    if not smtputf8 and not path.isascii():
        raise Reject(replies.NEEDS_SMTPUTF8)
    try:
        reverse_path = parse_path(path)
    except FormatError as error:
        raise Reject(replies.bad_sender(str(error))) from error
    return MailArgument(reverse_path=reverse_path, size=size, smtputf8=smtputf8)


def parse_rcpt(argument: str, *, smtputf8: bool) -> Mailbox:
    """Return what stands behind `RCPT `, or raise Reject. DSN is not offered, so that
    no parameter is known (RFC 3461 §4)."""
    path, parameters = _split(argument, "TO:", replies.RCPT_SYNTAX)
    if parameters:
        _parameters(parameters)
        raise Reject(replies.RCPT_PARAMETER)
    if not smtputf8 and not path.isascii():
        raise Reject(replies.NEEDS_SMTPUTF8)
    try:
        return parse_mailbox(path)
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


def _judge_mail_parameters(values: dict[str, str]) -> int:
    """Return SIZE. AUTH is parsed and not believed (RFC 4954 §5)."""
    size = 0
    for keyword, value in values.items():
        match keyword:
            case "SIZE":
                if not (value.isdecimal() and value.isascii()):
                    raise Reject(replies.PARAMETER_SYNTAX)
                if len(value) > _MAX_SIZE_DIGITS:
                    raise Reject(replies.PARAMETER_SYNTAX)
                size = int(value)
            case "BODY":
                if value.upper() not in ("7BIT", "8BITMIME"):
                    raise Reject(replies.MAIL_PARAMETER)
            case "SMTPUTF8":
                if value:
                    raise Reject(replies.PARAMETER_SYNTAX)
            case "AUTH":
                if not value:
                    raise Reject(replies.PARAMETER_SYNTAX)
            case _:
                raise Reject(replies.MAIL_PARAMETER)
    return size
