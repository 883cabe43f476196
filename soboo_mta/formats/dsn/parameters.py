"""The parameters of the SMTP DSN extension between wire and values (RFC 3461 §4).

Case is kept wherever it means something: in ENVID and in the address of ORCPT. What was
read here is safe to write again; it is bounded and has no control characters.
"""

import re

from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.notify import Asked, DsnRequest, Notify, OriginalRecipient, Returned

MAX_ENVID_OCTETS = 100  # RFC 3461 §4.4, as it stands on the wire
MAX_ORCPT_OCTETS = 500  # RFC 3461 §4.2, with its address-type
UTF8_KIND = "utf-8"  # RFC 6533 §3
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_PRINTABLE = re.compile(r"[ -~]+")
_KIND = re.compile(r"[A-Za-z0-9-]{1,40}")  # an atom, of which less is enough
_UTF8_ADDRESS = re.compile(r"(?:[!-\[\]-~\u0080-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})+")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_MAX_CODE_POINT = 0x10FFFF


def read_returned(text: str) -> Returned:
    """Return RET's value; raise FormatError."""
    try:
        return Returned(text.upper())
    except ValueError as error:
        raise FormatError("RET is FULL or HDRS") from error


def read_envelope_id(text: str) -> str:
    """Return ENVID's decoded value; raise FormatError."""
    if len(text) > MAX_ENVID_OCTETS:
        raise FormatError(f"ENVID is over {MAX_ENVID_OCTETS} characters")
    return _from_xtext(text, "ENVID")


def read_notify(text: str) -> frozenset[Notify]:
    """Return NOTIFY's values; raise FormatError for NEVER beside another."""
    words = text.upper().split(",")
    try:
        values = frozenset(Notify(word) for word in words)
    except ValueError as error:
        raise FormatError(
            "NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY"
        ) from error
    if Notify.NEVER in values and len(words) > 1:
        raise FormatError("NOTIFY=NEVER stands alone")
    return values


def read_original_recipient(text: str) -> OriginalRecipient:
    """Return ORCPT's value, of whatever address-type; raise FormatError.

    Of the type utf-8 all three forms are read (RFC 6533 §3): plain UTF-8, and code
    points as `\\x{…}`, in xtext or not.
    """
    kind, semicolon, address = text.partition(";")
    if len(text.encode()) > MAX_ORCPT_OCTETS:
        raise FormatError(f"ORCPT is over {MAX_ORCPT_OCTETS} octets")
    if not semicolon or not _KIND.fullmatch(kind):
        raise FormatError("ORCPT is written type;address, as rfc822;user@domain")
    if kind.lower() == UTF8_KIND:
        return OriginalRecipient(UTF8_KIND, _from_utf8_address(address))
    return OriginalRecipient(kind, _from_xtext(address, "ORCPT"))


def mail_parameters(request: DsnRequest) -> str:
    """Return RET and ENVID for MAIL, each after a space; "" for none (RFC 3461 §5.2.1)."""
    ret = f" RET={request.returned.value}" if request.returned else ""
    return ret + (f" ENVID={to_xtext(request.envelope_id)}" * bool(request.envelope_id))


def recipient_parameters(asked: Asked) -> str:
    """Return NOTIFY and ORCPT for RCPT, each after a space; "" for none."""
    text = f" NOTIFY={written_notify(asked.notify)}" if asked.notify else ""
    if asked.orcpt is not None:
        text += f" ORCPT={asked.orcpt.kind};{_to_wire(asked.orcpt)}"
    return text


def written_notify(notify: frozenset[Notify]) -> str:
    """Return the values as NOTIFY has them, in one order."""
    return ",".join(value for value in Notify if value in notify)


def to_xtext(text: str) -> str:
    """Return printable ASCII as xtext (RFC 3461 §4)."""
    return "".join(
        char if "!" <= char <= "~" and char not in "+=" else f"+{ord(char):02X}"
        for char in text
    )


def to_ascii_address(address: str) -> str:
    """Return an address with what is not ASCII as `\\x{…}`: utf-8-addr-xtext of RFC 6533
    §3, before xtext, which every 7-bit report can hold."""
    return "".join(
        char if "!" <= char <= "~" and char != "\\" else f"\\x{{{ord(char):02X}}}"
        for char in address
    )


def _to_wire(orcpt: OriginalRecipient) -> str:
    if orcpt.kind == UTF8_KIND:  # RFC 6533 §3: the form that every next hop takes
        return to_xtext(to_ascii_address(orcpt.address))
    return to_xtext(orcpt.address)


def _from_xtext(text: str, name: str) -> str:
    if not _XTEXT.fullmatch(text):
        raise FormatError(f"{name} is not xtext: write +2B for +, +3D for =, +20")
    decoded = _HEX.sub(lambda found: chr(int(found[1], 16)), text)
    if not _PRINTABLE.fullmatch(decoded):
        raise FormatError(f"{name} has characters that are not printable ASCII")
    return decoded


def _from_utf8_address(text: str) -> str:
    if text.isascii():
        text = _from_xtext(text, "ORCPT")
    if not _UTF8_ADDRESS.fullmatch(text):
        raise FormatError("the utf-8 address of ORCPT is malformed")
    address = _EMBEDDED.sub(_code_point, text)
    if not address.isprintable():
        raise FormatError("the utf-8 address of ORCPT has a control character")
    return address


def _code_point(found: re.Match[str]) -> str:
    value = int(found[1], 16)
    return chr(value) if value <= _MAX_CODE_POINT else "\0"
