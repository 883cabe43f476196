"""What Cloudflare takes of a template: the synchronous flow, signed; the rest it ignores."""

from collections.abc import Iterator
from typing import Final

from soboo_mta.onboarding.connect.lint.finding import Finding, Values, error, note, text

_IGNORED: Final = (
    ("DCTL5002 shared-service-name", "sharedServiceName"),
    ("DCTL5003 redirect-domain", "syncRedirectDomain"),
    ("DCTL5004 multi-instance", "multiInstance"),
    ("DCTL5005 warn-phishing", "warnPhishing"),
    ("DCTL5006 host-required", "hostRequired"),
)
_WHOLE: Final = "template"


def cloudflare_rules(template: Values) -> Iterator[Finding]:
    """The profile's rules on the template's own fields."""
    if template.get("syncBlock"):
        sentence = "Cloudflare has the synchronous flow alone, and syncBlock forbids it"
        yield error("DCTL5000 sync-block", _WHOLE, sentence)
    if not text(template, "syncPubKeyDomain"):
        sentence = "Cloudflare takes signed requests alone: set syncPubKeyDomain"
        yield error("DCTL5001 key-domain", _WHOLE, sentence)
    for rule, field in _IGNORED:
        if template.get(field):
            yield note(rule, _WHOLE, f"Cloudflare ignores {field}")


def cloudflare_record_rules(record: Values, place: str) -> Iterator[Finding]:
    """The profile's rules on one record."""
    kind = text(record, "type")
    if kind == "APEXCNAME":
        sentence = "Cloudflare has no APEXCNAME: use CNAME at @, which it flattens"
        yield error("DCTL5009 apex-cname", place, sentence)
    if kind in ("CNAME", "NS") and text(record, "host") == "@":
        sentence = f"Cloudflare flattens what is {kind} at @"
        yield note("DCTL5007 flattening", place, sentence)
    if text(record, "txtConflictMatchingMode"):
        sentence = "Cloudflare ignores conflict matching: leave the group out where such a text exists"
        yield note("DCTL5008 conflict-mode", place, sentence)
    if record.get("ttl") == 0:
        yield note("DCTL5010 ttl", place, "Cloudflare makes 300 of a ttl of 0")
    if text(record, "essential"):
        yield note("DCTL5011 essential", place, "Cloudflare ignores essential")
