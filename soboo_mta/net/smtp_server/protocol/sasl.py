"""What AUTH says in base64 (RFC 4954 §4, RFC 4616, RFC 4422). Pure; a refusal is Reject."""

import binascii
from base64 import b64decode

from soboo_mta.mail.errors import Reject
from soboo_mta.submission import replies

_MAX_NAME_OCTETS = 255  # RFC 4616 §2 allows as much


def decoded(text: str) -> bytes:
    """Base64, or `=` for nothing (RFC 4954 §4)."""
    if text == "=":
        return b""
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Reject(replies.BAD_BASE64) from error


def plain_parts(answer: bytes) -> tuple[str, str]:
    """authzid NUL authcid NUL passwd (RFC 4616 §2); acting for another is not known."""
    parts = answer.split(b"\0")
    if len(parts) != 3:
        raise Reject(replies.BAD_BASE64)
    acting_for, user_name, secret = map(name_or_secret, parts)
    if acting_for not in ("", user_name):
        raise Reject(replies.BAD_LOGIN)
    return user_name, secret


def name_or_secret(octets: bytes) -> str:
    """UTF-8 without NUL, of a bounded length; empty where nothing was said."""
    if b"\0" in octets or len(octets) > _MAX_NAME_OCTETS:
        raise Reject(replies.BAD_BASE64)
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise Reject(replies.BAD_BASE64) from error
