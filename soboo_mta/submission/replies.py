"""Every reply of the listener, with its enhanced status (RFC 2034, RFC 3463).

A refusal says what to change. None tells what another tenant has, or what broke inside.
"""

from collections.abc import Iterable

from soboo_mta.identity.state import RequiredRecord
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId
from soboo_mta.mail.reply import Reply, reply

# ---- positive

OK = reply(250, "2.0.0", "OK")
SENDER_OK = reply(250, "2.1.0", "OK")
RECIPIENT_OK = reply(250, "2.1.5", "OK")
START_DATA = Reply(354, None, "End with a line that has only a dot")
GOODBYE = reply(221, "2.0.0", "Goodbye")
START_TLS = reply(220, "2.0.0", "Ready to start TLS")
LOGGED_IN = reply(235, "2.7.0", "Authenticated")
CANNOT_VERIFY = reply(252, "2.1.5", "Addresses are not checked here: send the message")
HELP = reply(214, "2.0.0", "See RFC 5321; AUTH, then MAIL, RCPT, DATA")

# ---- the session

STOPPING = reply(421, "4.3.2", "The server is being stopped: connect again in a moment")
TOO_MANY_CONNECTIONS = reply(421, "4.3.2", "Too many connections: try again later")
TOO_MANY_FROM_CLIENT = reply(
    421, "4.7.0", "Too many connections from your address: reuse those you have"
)
CONNECTING_TOO_OFTEN = reply(
    421,
    "4.7.0",
    "Too many connections a minute from your address: reuse those you have",
)
TOO_MANY_OF_CREDENTIAL = reply(
    421, "4.7.0", "Too many connections with your credential: reuse those you have"
)
TIMED_OUT = reply(421, "4.4.2", "Waited too long for your next command")
TOO_SLOW = reply(421, "4.4.2", "The message came too slowly")
TOO_MANY_ERRORS = reply(
    421, "4.7.0", "Too many errors: check how your client speaks SMTP"
)
TOO_MANY_IDLE = reply(421, "4.7.0", "Too many commands without a message")
NOT_SMTP = reply(
    554, "5.5.1", "This is an SMTP server: your client speaks something else"
)
UNKNOWN_COMMAND = reply(500, "5.5.1", "Unknown command")
NOT_OFFERED = reply(502, "5.5.1", "Not offered here")
NO_CHUNKING = reply(502, "5.5.1", "BDAT is not offered: send with DATA")
CHUNK_SYNTAX = reply(501, "5.5.4", "Write BDAT and a number of octets, then LAST")
DATA_AFTER_BDAT = reply(503, "5.5.1", "The message came by BDAT: end it with BDAT LAST")
RCPT_AFTER_BDAT = reply(503, "5.5.1", "The message has begun: RCPT comes too late")
LINE_TOO_LONG = reply(500, "5.5.6", "The command line is too long")
BARE_LINE_END = reply(500, "5.5.2", "End every command line in CR LF, and only there")
NOT_TEXT = reply(501, "5.5.2", "The command has a NUL, or is not ASCII or UTF-8")
NO_ARGUMENT = reply(501, "5.5.4", "This command takes no argument")
BAD_EHLO = reply(501, "5.5.4", "Write EHLO and your host name or [address]")
SAY_EHLO = reply(503, "5.5.1", "Say EHLO first")
NESTED_MAIL = reply(503, "5.5.1", "A transaction is open: end it with DATA or RSET")
NO_MAIL = reply(503, "5.5.1", "Say MAIL first")
NO_RECIPIENT = reply(503, "5.5.1", "No recipient was accepted: say RCPT first")
INTERNAL = reply(
    451, "4.3.0", "Something failed here, not in your mail: try again later"
)

# ---- TLS and AUTH

TLS_ACTIVE = reply(503, "5.5.1", "TLS is active already")
NO_TLS = reply(502, "5.5.1", "TLS is not offered here")
LOGIN_NEEDS_TLS = reply(538, "5.7.11", "Use TLS before AUTH: say STARTTLS, or port 465")
LOGIN_FIRST = reply(530, "5.7.0", "Authenticate first: say AUTH")
REVOKED = reply(530, "5.7.0", "Your credential was revoked: authenticate with another")
LOGGED_IN_ALREADY = reply(503, "5.5.1", "You are authenticated already")
LOGIN_IN_TRANSACTION = reply(503, "5.5.1", "AUTH has no place inside a transaction")
LOGIN_SYNTAX = reply(501, "5.5.4", "Write AUTH and a mechanism that EHLO named")
UNKNOWN_MECHANISM = reply(504, "5.5.4", "Only the mechanisms that EHLO named are known")
LOGIN_TOO_LONG = reply(500, "5.5.6", "The line of AUTH is over 12288 octets")
LOGIN_CANCELLED = reply(501, "5.7.0", "AUTH was cancelled")
BAD_BASE64 = reply(501, "5.5.2", "What AUTH sent is not the base64 of its mechanism")
BAD_LOGIN = reply(535, "5.7.8", "User name or secret is wrong, or revoked")
TOO_MANY_LOGINS = reply(421, "4.7.0", "Too many failed logins: try again later")
LOGIN_UNAVAILABLE = reply(454, "4.7.0", "Logins cannot be checked now: try again later")

# ---- the envelope

MAIL_SYNTAX = reply(501, "5.5.4", "Write MAIL FROM:<user@domain> and its parameters")
RCPT_SYNTAX = reply(501, "5.5.4", "Write RCPT TO:<user@domain>")
PARAMETER_SYNTAX = reply(501, "5.5.4", "A parameter is malformed or stands twice")
MAIL_PARAMETER = reply(
    555,
    "5.5.4",
    "Only SIZE, BODY=7BIT, BODY=8BITMIME, SMTPUTF8, AUTH, RET, ENVID, HOLDFOR and "
    "HOLDUNTIL are known",
)
RCPT_PARAMETER = reply(555, "5.5.4", "Only NOTIFY and ORCPT are known")
TWO_HOLDS = reply(501, "5.5.4", "Say HOLDFOR or HOLDUNTIL, not both")
BAD_HOLDFOR = reply(501, "5.5.4", "HOLDFOR is a number of seconds, 1 to 9 digits")
BAD_HOLDUNTIL = reply(
    501, "5.5.4", "HOLDUNTIL is a time as in RFC 3339, say 2030-01-31T09:00:00Z"
)
NO_HOLD = reply(555, "5.5.4", "Future release is not offered here")
HOLD_IN_THE_PAST = reply(501, "5.5.4", "HOLDUNTIL is in the past: leave it out")
NEEDS_SMTPUTF8 = reply(
    553,
    "5.6.7",
    "The address is not ASCII: say SMTPUTF8 in MAIL, or use its ASCII form",
)
TOO_MANY_RECIPIENTS = reply(
    452, "4.5.3", "Too many recipients: send the others in a further message"
)
SENDING_TOO_OFTEN = reply(
    451, "4.7.1", "Too many messages a minute: send the others later"
)
RECIPIENTS_TOO_OFTEN = reply(
    451, "4.7.1", "Too many recipients a minute: send to the others later"
)


def bad_sender(why: str) -> Reply:
    """The reverse-path is no address; `why` is FormatError's text."""
    return reply(501, "5.1.7", _sentence(why))


def bad_recipient(why: str) -> Reply:
    """The forward-path is no address; `why` is FormatError's text."""
    return reply(501, "5.1.3", _sentence(why))


def suppressed(because: str) -> Reply:
    """The tenant's list has the recipient; `because` is what the entry says."""
    return reply(550, "5.7.1", f"The recipient is suppressed: {because}")


def bad_parameter(why: str) -> Reply:
    """A parameter of the DSN extension is malformed; `why` is FormatError's text."""
    return reply(501, "5.5.4", _sentence(why))


def held_too_long(seconds: int) -> Reply:
    """A release later than FUTURERELEASE announced (RFC 4865 §4)."""
    return reply(501, "5.5.4", f"A message is held for {seconds} seconds at most")


def too_large(limit: int) -> Reply:
    """More octets than SIZE announced (RFC 1870 §6.1)."""
    return reply(552, "5.3.4", f"The message is over {limit} octets: make it smaller")


# ---- the message

BARE_IN_CONTENT = reply(
    554, "5.6.0", "The message has a bare CR or LF: end every line in CR LF"
)
NUL_IN_CONTENT = reply(554, "5.6.0", "The message has a NUL octet: encode it in base64")
LONG_LINE = reply(
    554, "5.6.0", "A line is over 998 octets: encode it quoted-printable or base64"
)
ODD_SPACE = reply(
    554, "5.6.0", "The header has a vertical tab or form feed: take it out"
)
LOOP = reply(554, "5.4.6", "The message has too many Received fields: it is in a loop")
OWN_LOOP = reply(554, "5.4.6", "The message went through this host before: it loops")
NO_FROM = reply(550, "5.6.0", "The message has no From field: add one")
SEVERAL_FROM = reply(550, "5.6.0", "The message has several From fields: leave one")
SEVERAL_STREAMS = reply(
    550, "5.6.0", "The message has several X-Soboo-Stream fields: leave one"
)
SUSPENDED = reply(550, "5.7.1", "This account is suspended: ask your provider why")
QUOTA = reply(451, "4.7.1", "The account's sending quota is used up: try again later")
KEY_REUSED = reply(
    554, "5.5.4", "The idempotency key stands for another message: use a new one"
)
BUSY = reply(452, "4.3.1", "Too much mail is being received: try again later")
FULL = reply(452, "4.3.1", "There is no space to keep the message: try again later")


def accepted(message_id: MessageId) -> Reply:
    """The message is kept; `message_id` finds it in `soboo-mta trace`."""
    return reply(250, "2.0.0", f"Accepted as {message_id}")


def large_header(octets: int, fields: int) -> Reply:
    """The header is over one of the bounds."""
    text = f"The header is over {octets} octets or {fields} fields: make it smaller"
    return reply(554, "5.6.0", text)


def bad_header(why: str) -> Reply:
    """The header is not one; `why` is FormatError's text."""
    return reply(554, "5.6.0", _sentence(why))


def bad_stream(why: str) -> Reply:
    """X-Soboo-Stream holds no stream; `why` is FormatError's text."""
    return reply(550, "5.6.0", f"X-Soboo-Stream: {why}")


def bad_author(field: str, why: str) -> Reply:
    """`field` does not hold exactly one mailbox; `why` is FormatError's text."""
    return reply(550, "5.6.0", f"{field}: {why}")


def not_yours(field: str, domain: Domain) -> Reply:
    """The same for a domain nobody has and for one of another tenant."""
    return reply(
        550,
        "5.7.1",
        f"The {field} domain {domain} is not one of this account: send from a domain "
        "of yours, or have this one added to the account",
    )


def not_verified(domain: Domain, records: Iterable[RequiredRecord]) -> Reply:
    """The domain is the account's, but its records were never seen."""
    wanted = "; ".join(f"{one.owner} {one.kind} {one.value}" for one in records)
    return reply(
        550,
        "5.7.1",
        f"The From domain {domain} is not verified: publish {wanted}; it is checked "
        "again by itself",
    )


def no_way_out(why: str) -> Reply:
    """The domain's mode is one whose mail can't leave yet."""
    return reply(550, "5.3.3", f"The From domain {why}: set it up in another mode")


def _sentence(why: str) -> str:
    return why[:1].upper() + why[1:]
