"""The repository's rules on a template as a whole."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from soboo_mta.onboarding.connect.lint.finding import (
    Finding,
    Values,
    error,
    note,
    text,
    warning,
)

_ID: Final = re.compile(r"[A-Za-z0-9._-]*")
_WHOLE: Final = "template"


def file_rules(template: Values, name: str) -> Iterator[Finding]:
    """The rule on the file's name."""
    wanted = (
        f"{text(template, 'providerId')}.{text(template, 'serviceId')}.json".lower()
    )
    if name != wanted:
        yield error(
            "DCTL1003 file-name", "file", f"it is called {name}: name it {wanted}"
        )


def template_rules(template: Values) -> Iterator[Finding]:
    """The rules on its own fields."""
    for field in ("providerId", "serviceId"):
        if not _ID.fullmatch(text(template, field)):
            sentence = (
                f"{field} takes letters, digits, full stops, hyphens and underscores"
            )
            yield error("DCTL1002 id-characters", _WHOLE, sentence)
    version = template.get("version")
    if isinstance(version, int) and version < 1:
        yield warning("DCTL1006 version", _WHOLE, "version begins with 1")
    if "shared" in template:
        sentence = "shared is of old: say sharedProviderName"
        yield error("DCTL1007 shared", _WHOLE, sentence)
    yield from _signature(template)
    redirects = text(template, "syncRedirectDomain")
    if re.search(r"\s|,,|^,|,$", redirects):
        sentence = "syncRedirectDomain is names parted by commas, without white space"
        yield warning("DCTL1026 redirect-domain", _WHOLE, sentence)
    logo = text(template, "logoUrl")
    if logo and not logo.startswith("https://"):
        yield warning("DCTL1010 logo", _WHOLE, "logoUrl is to begin with https://")


def _signature(template: Values) -> Iterator[Finding]:
    if not text(template, "syncPubKeyDomain"):
        yield error(
            "DCTL1029 key-domain",
            _WHOLE,
            "syncPubKeyDomain is missing: unsigned templates are refused",
        )
    elif template.get("warnPhishing"):
        yield error(
            "DCTL1028 warn-phishing",
            _WHOLE,
            "warnPhishing and syncPubKeyDomain exclude each other: take warnPhishing out",
        )


def records_rules(records: Sequence[Values]) -> Iterator[Finding]:
    """The rules on records beside each other."""
    given = [text(record, "groupId") for record in records]
    if "" in given and any(given):
        sentence = "some records have a groupId and some have none"
        yield note("DCTL1032 group-mix", _WHOLE, sentence)
    elif len(given) > 1 and len(set(given)) == 1 and given[0]:
        sentence = f"every record is of the group {given[0]!r}: it says nothing"
        yield note("DCTL1031 one-group", _WHOLE, sentence)
    hosts: dict[str, list[str]] = {}
    for record in records:
        if "host" in record:
            hosts.setdefault(text(record, "host"), []).append(text(record, "type"))
    for host, kinds in hosts.items():
        if "CNAME" in kinds and len(kinds) > 1:
            sentence = f"{host} has a CNAME and another record: DNS allows no such name"
            yield error("DCTL1011 cname-alone", _WHOLE, sentence)
    for shown, times in Counter(map(_shown, records)).items():
        if times > 1:
            sentence = f"{shown} stands {times} times"
            yield warning("DCTL1023 duplicate", _WHOLE, sentence)


def _shown(record: Values) -> str:
    value = text(record, "pointsTo") or text(record, "data") or text(record, "spfRules")
    host = text(record, "host") or text(record, "name")
    return f"{text(record, 'type')} {host} {value or text(record, 'target')}"
