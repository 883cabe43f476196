"""What SPF, DKIM and DMARC say of a message that came in, and the field that records it."""

from soboo_mta.formats.authentication.results import (
    Authentication,
    DmarcVerdict,
    Identity,
    Result,
    Rule,
    SignatureVerdict,
    SpfVerdict,
)

__all__ = [
    "Authentication",
    "DmarcVerdict",
    "Identity",
    "Result",
    "Rule",
    "SignatureVerdict",
    "SpfVerdict",
]
