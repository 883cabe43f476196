"""The names that a client's certificate proves; TLS has verified it by then.

A credential is bound to one of them: the fingerprint, a mailbox or host name of the
subject (RFC 5280 §4.2.1.6), or such a common name where the subject has no other.
"""

import ssl
from hashlib import sha256
from typing import Any

_MAX_NAMES = 20  # each is looked for
_SUBJECT_NAMES = ("email", "DNS")


def certificate_names(secured: ssl.SSLObject | None) -> tuple[str, ...]:
    """Return them, the most exact first; nothing where no certificate was shown."""
    octets = secured.getpeercert(binary_form=True) if secured else None
    if secured is None or octets is None:
        return ()
    # typeshed has one type for all values of the mapping: Any.
    shown: dict[str, Any] = secured.getpeercert() or {}
    names: list[str] = [
        value
        for kind, value in shown.get("subjectAltName", ())
        if kind in _SUBJECT_NAMES
    ] or [
        value
        for part in shown.get("subject", ())
        for kind, value in part
        if kind == "commonName"
    ]
    lowered = (name.lower() for name in names[:_MAX_NAMES])
    return (f"sha256:{sha256(octets).hexdigest()}", *lowered)
