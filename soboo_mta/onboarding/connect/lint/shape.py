"""The schema's rules: which fields there are, of which type, and which may not lack."""

from collections.abc import Iterator, Mapping
from typing import Final

from soboo_mta.onboarding.connect.lint.finding import (
    Finding,
    Values,
    error,
    note,
    text,
)

_TEMPLATE: Final[Mapping[str, type]] = {
    "providerId": str,
    "providerName": str,
    "serviceId": str,
    "serviceName": str,
    "records": list,
    "version": int,
    "logoUrl": str,
    "description": str,
    "variableDescription": str,
    "syncBlock": bool,
    "shared": bool,
    "sharedProviderName": bool,
    "sharedServiceName": bool,
    "syncPubKeyDomain": str,
    "syncRedirectDomain": str,
    "multiInstance": bool,
    "warnPhishing": bool,
    "hostRequired": bool,
}
_NEEDED: Final = ("providerId", "providerName", "serviceId", "serviceName", "records")
_RECORD: Final[Mapping[str, type]] = {
    "type": str,
    "groupId": str,
    "essential": str,
    "host": str,
    "name": str,
    "pointsTo": str,
    "target": str,
    "data": str,
    "ttl": int,
    "priority": int,
    "weight": int,
    "port": int,
    "protocol": str,
    "service": str,
    "spfRules": str,
    "txtConflictMatchingMode": str,
    "txtConflictMatchingPrefix": str,
}
_MAY_BE_TEXT: Final = ("ttl", "priority", "weight", "port")  # a variable, or digits
_POINTING: Final = ("host", "pointsTo")
_RECORD_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "A": _POINTING,
    "AAAA": _POINTING,
    "CNAME": _POINTING,
    "NS": _POINTING,
    "MX": (*_POINTING, "priority"),
    "TXT": ("host", "data"),
    "SPFM": ("host", "spfRules"),
    "SRV": ("name", "target", "priority", "protocol", "service", "weight", "port"),
}
_UNCOMMON: Final = ("APEXCNAME", "REDIR301", "REDIR302", "CAA")
_NAMES: Final = {str: "text", int: "a number", bool: "true or false", list: "a list"}


def template_shape(template: Values) -> Iterator[Finding]:
    """The fields of a template."""
    yield from _fields(template, _TEMPLATE, "template")
    for name in _NEEDED:
        if template.get(name) in (None, ""):
            yield error("DCTL0008 required-field", "template", f"{name} is missing")
    if template.get("records") == []:
        yield error("DCTL1030 no-records", "template", "it has no records")


def record_shape(record: Values, place: str) -> Iterator[Finding]:
    """The fields of one record, by its type."""
    yield from _fields(record, _RECORD, place)
    kind = text(record, "type")
    if not kind:
        yield error("DCTL0008 required-field", place, "type is missing")
    elif kind in _RECORD_NEEDS:
        for name in _RECORD_NEEDS[kind]:
            if record.get(name) in (None, ""):
                yield error("DCTL0008 required-field", place, f"{name} is missing")
    elif kind in _UNCOMMON:
        yield note(
            "DCTL1016 record-type",
            place,
            f"{kind} is optional in the protocol: many DNS hosts do not take it",
        )
    elif "%" not in kind:
        yield error("DCTL1016 record-type", place, f"{kind!r} is no type of record")


def _fields(values: Values, known: Mapping[str, type], place: str) -> Iterator[Finding]:
    for name, value in values.items():
        if name not in known:
            sentence = f"there is no field {name!r}: the schema refuses it"
            yield error("schema unknown-field", place, sentence)
            continue
        wanted = known[name]
        if name in _MAY_BE_TEXT and isinstance(value, str):
            continue
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            sentence = f"{name} is not {_NAMES[wanted]}"
            yield error("schema field-type", place, sentence)
