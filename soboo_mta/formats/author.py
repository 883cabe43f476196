"""The one Author address of a From value, decided on the raw octets (RFC 5322 §3.4).

The grammar is RFC 5322's mailbox, narrowed to what every parser reads alike: a refusal
here is a message whose From two receivers could show and check differently. Encoded
words (RFC 2047 §5) are taken as the atoms they are and never decoded.
"""

import re

import idna

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.errors import FormatError

_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a0-\U0010ffff-"
# Inside comments nothing that opens, closes, quotes or separates anything.
_CFWS = r"""(?:[ \t]|\([^()<>@,;:\\"]*+\))*+"""
# A full stop in a display name is obs-phrase (RFC 5322 §4.1), and everywhere in use; one
# that begins a word is neither, and parsers break on it.
_WORD = rf"""(?:[{_ATEXT}][{_ATEXT}.]*+|"(?:[^"\\]|\\["\\])*+")"""
# Never quoted: `"a"@x` and `a@x` are one mailbox, which parsers write in two ways.
_LOCAL = rf"[{_ATEXT}]++(?:\.[{_ATEXT}]++)*+"
_DOMAIN = r"[A-Za-z0-9\u00a0-\U0010ffff-]++(?:\.[A-Za-z0-9\u00a0-\U0010ffff-]++)++"
_ADDRESS = rf"{_LOCAL}@{_DOMAIN}"
_MAILBOX = re.compile(
    rf"{_CFWS}(?:(?:{_WORD}{_CFWS})*+<(?P<angle>{_ADDRESS})>|(?P<bare>{_ADDRESS}))"
    rf"{_CFWS}"
)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ENCODED_WORD = re.compile(r"=\?[^? ]*\?[BbQq]\?")
_DEVIATIONS = re.compile("[ßς\u200c\u200d]")  # UTS #46 §7
_MAX_OCTETS = 2_000  # far over any real From; bounds the work on a hostile one


def parse_author(raw_value: bytes, *, smtputf8: bool) -> Mailbox:
    """Return the single mailbox of a From value (what follows the colon, folds and all).

    `smtputf8` allows UTF-8 in it (RFC 6532 §3.2). Raises FormatError, whose sentence
    says what to change, for anything but one mailbox that all parsers read alike.
    """
    value = _text(raw_value, smtputf8=smtputf8)
    found = _MAILBOX.fullmatch(value)
    if not found:
        raise FormatError(_why_refused(value))
    address = found["angle"] or found["bare"]
    if _ENCODED_WORD.search(address):
        raise FormatError(
            "the From address is an encoded word: only the display name may be encoded"
        )
    domain = address.rpartition("@")[2]
    if not domain.isascii() and not _is_read_alike(domain):
        raise FormatError(
            "the From domain is written in a form that programs read differently: "
            "write its ASCII form (xn--...)"
        )
    return parse_mailbox(address)


def _is_read_alike(domain: str) -> bool:
    """Whether nothing of `domain` is mapped to something else, or was by IDNA 2003."""
    if _DEVIATIONS.search(domain):
        return False
    try:
        idna.encode(domain, uts46=False)
    except idna.IDNAError:
        return False
    return True


def _text(raw_value: bytes, *, smtputf8: bool) -> str:
    if len(raw_value) > _MAX_OCTETS:
        raise FormatError(f"the From field is over {_MAX_OCTETS} octets: shorten it")
    unfolded = raw_value.removesuffix(b"\r\n")
    unfolded = unfolded.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")
    if not smtputf8 and not unfolded.isascii():
        raise FormatError(
            "the From field has octets over 127: encode the display name (RFC 2047), "
            "or give SMTPUTF8 with MAIL FROM"
        )
    try:
        text = unfolded.decode()
    except UnicodeDecodeError as error:
        raise FormatError("the From field is not valid UTF-8: encode it so") from error
    if _CONTROLS.search(text):
        raise FormatError("the From field has a control character: take it out")
    return text


def _why_refused(value: str) -> str:
    if not value.strip():
        return "the From field is empty: write one address in it"
    outside = _QUOTED.sub("", value)
    if outside.lstrip(" \t<").startswith("@") and '"' in value:
        return "the From address has a quoted local part: write it without quotes"
    if '"' in outside:
        return "the quotes in the From field do not match: close the quoted name"
    if "\\" in outside:
        return "the From field has a backslash outside quotes: take it out"
    inside, _, behind = outside.partition("<")[2].partition(">")
    if re.search(r"[,:]", inside.partition("@")[2]):
        return "the From address has a route: write <user@domain> alone"
    if ":" in outside or ";" in outside:
        return "the From field is a group, or has a stray ':' or ';': write one address"
    if "," in outside:
        return (
            "the From field has several addresses, or a comma outside quotes: write one "
            'address, and quote a name that has a comma, as in "Doe, Jane" <jane@...>'
        )
    if outside.count("<") > 1 or behind.partition("(")[0].strip():
        return "the From field has text after its address: end it with <user@domain>"
    if outside.count("@") > 1:
        return (
            "the From field has more than one '@': write one address, and quote a name "
            'that has one, as in "info@..." <info@...>'
        )
    if "@" not in outside:
        return "the From field has no address: write user@domain or Name <user@domain>"
    return (
        "the From field is not one plain address: write user@domain or "
        '"Name" <user@domain>, without comments or spaces inside the address'
    )
