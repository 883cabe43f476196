"""The repository's rules on one record of a template."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from soboo_mta.onboarding.connect.lint.finding import (
    VARIABLE,
    Finding,
    Values,
    error,
    is_bare,
    is_dmarc,
    text,
    warning,
)

_MAX_TTL: Final = 2**31 - 1  # RFC 2181 §8
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_HOST: Final = re.compile(r"@|[A-Za-z0-9_%*-]+(\.[A-Za-z0-9_%*-]+)*\.?")
_VALUES: Final = ("pointsTo", "target", "data")
_UNIQUE: Final = ("v=DMARC1", "v=STSv1", "v=TLSRPTv1", "v=BIMI1")
_MODES: Final = ("None", "All", "Prefix")
_FAMILIES: Final = {"A": (4, "DCTL1035"), "AAAA": (6, "DCTL1036")}


def record_rules(
    record: Values, place: str, *, host_required: bool
) -> Iterator[Finding]:
    """Every rule on one record; `host_required` is the template's."""
    yield from _host(record, place, host_required=host_required)
    yield from _variables(record, place)
    yield from _addresses(record, place)
    yield from _policy(record, place)
    yield from _spf(record, place)
    ttl = record.get("ttl")
    if isinstance(ttl, int) and not 0 <= ttl <= _MAX_TTL:
        yield error("DCTL1000 ttl", place, f"the ttl {ttl} is outside 0 to {_MAX_TTL}")


def _host(record: Values, place: str, *, host_required: bool) -> Iterator[Finding]:
    host = text(record, "host")
    if host and not _HOST.fullmatch(host):
        sentence = f"the host {host!r} holds characters that no name has"
        yield error("DCTL1027 host-characters", place, sentence)
    if host == "@" and text(record, "type") in ("NS", "CNAME") and not host_required:
        sentence = f"{text(record, 'type')} at @ would take the whole domain over"
        yield error("DCTL1012 apex", place, sentence)
    if "%host%" in host:
        sentence = "%host% in a host: every host is below that anyway"
        yield error("DCTL1024 host-variable", place, sentence)
    elif is_bare(host):
        sentence = f"the host is {host} and nothing else: fix a part of it"
        yield error("DCTL1040 bare-host", place, sentence)
    elif VARIABLE.search(host.removesuffix(".").rpartition(".")[2]):
        sentence = f"the host {host} makes a subdomain of a variable: that is what the parameter host is for"
        yield error("README variable-subdomain", place, sentence)


def _variables(record: Values, place: str) -> Iterator[Finding]:
    for field in _VALUES:
        if is_bare(text(record, field)):
            sentence = (
                f"{field} is {text(record, field)} and nothing else: fix a part of it"
            )
            yield error("DCTL1040 bare-variable", place, sentence)
    for field in ("type", "groupId", "txtConflictMatchingPrefix"):
        if "%" in text(record, field):
            sentence = f"{field} holds a variable"
            yield error("DCTL1009 variable-context", place, sentence)
    for field, value in record.items():
        if not isinstance(value, str):
            continue
        if value.count("%") % 2:
            sentence = f"a variable in {field} does not end: {value}"
            yield error("DCTL1020 variable-end", place, sentence)
            continue
        for name in VARIABLE.findall(value):
            if not _NAME.fullmatch(name):
                sentence = f"the variable %{name}% takes letters, digits, - and _"
                yield warning("DCTL1019 variable-name", place, sentence)


def _addresses(record: Values, place: str) -> Iterator[Finding]:
    kind, value = text(record, "type"), text(record, "pointsTo")
    if kind not in _FAMILIES or not value or "%" in value:
        return
    try:
        version = ip_address(value).version
    except ValueError:
        sentence = f"{value!r} is no address"
        yield error("DCTL1034 address", place, sentence)
        return
    wanted, number = _FAMILIES[kind]
    if version != wanted:
        sentence = f"{value} is an IPv{version} address"
        yield error(f"{number} address-family", place, sentence)


def _policy(record: Values, place: str) -> Iterator[Finding]:
    """What becomes of a text that is there already, and of ours when it is changed."""
    mode, data = text(record, "txtConflictMatchingMode"), text(record, "data")
    prefix, essential = (
        text(record, "txtConflictMatchingPrefix"),
        text(record, "essential"),
    )
    if mode and mode not in _MODES:
        sentence = (
            f"txtConflictMatchingMode is {mode!r}: say one of {', '.join(_MODES)}"
        )
        yield error("DCTL1015 conflict-mode", place, sentence)
    if mode == "Prefix" and not (prefix and data.startswith(prefix)):
        sentence = "txtConflictMatchingPrefix is to be the beginning of data"
        yield warning("DCTL1042 conflict-prefix", place, sentence)
    is_unique = is_dmarc(record) or data.startswith(_UNIQUE)
    if is_unique and mode not in ("All", "Prefix"):
        sentence = "there may be one such text alone: set txtConflictMatchingMode"
        yield error("README conflict-mode", place, sentence)
    if essential and essential not in ("Always", "OnApply"):
        sentence = f"essential is {essential!r}: say Always or OnApply"
        yield error("DCTL1015 essential", place, sentence)
    if is_dmarc(record) and essential != "OnApply":
        sentence = "its owner may change a DMARC record: set essential to OnApply"
        yield error("README essential", place, sentence)


def _spf(record: Values, place: str) -> Iterator[Finding]:
    if text(record, "type") == "TXT" and text(record, "data").startswith("v=spf1"):
        sentence = "SPF as TXT makes a second record: use SPFM, which is merged"
        yield error("DCTL1014 spf-text", place, sentence)
    rules = text(record, "spfRules").split()
    if "v=spf1" in rules or any(rule.lstrip("+-~?") == "all" for rule in rules):
        sentence = "spfRules are the terms alone, without v=spf1 and all"
        yield error("DCTL1017 spf-rules", place, sentence)
