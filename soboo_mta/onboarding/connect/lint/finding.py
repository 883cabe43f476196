"""What a rule finds in a template, and how templates are read: as plain JSON values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Values = Mapping[str, object]
"""A template, or one of its records, as JSON gives it: any field may be of any type."""
VARIABLE: Final = re.compile(r"%([^%]*)%")


class Severity(StrEnum):
    """ERROR: it would be refused; WARNING: mend it or say why; NOTE: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that a template does not keep. `rule` begins with its number in the
    repository's own linter (DCTL…), or with README where the guidelines alone state it."""

    rule: str
    severity: Severity
    place: str  # "template", or "record 3 (TXT _dmarc)"
    sentence: str  # without its full stop


def error(rule: str, place: str, sentence: str) -> Finding:
    return Finding(rule, Severity.ERROR, place, sentence)


def warning(rule: str, place: str, sentence: str) -> Finding:
    return Finding(rule, Severity.WARNING, place, sentence)


def note(rule: str, place: str, sentence: str) -> Finding:
    return Finding(rule, Severity.NOTE, place, sentence)


def text(values: Values, name: str) -> str:
    """Return a field that is text, else ""; of the wrong type it is another rule's."""
    value = values.get(name)
    return value if isinstance(value, str) else ""


def is_bare(value: str) -> bool:
    """Whether a value is one variable and nothing else."""
    return VARIABLE.fullmatch(value) is not None


def is_dmarc(record: Values) -> bool:
    """Whether a record is a DMARC policy (RFC 9989 §4.7)."""
    return text(record, "type") == "TXT" and (
        text(record, "host").split(".")[0] == "_dmarc"
        or text(record, "data").startswith("v=DMARC1")
    )


def place_of(number: int, record: Values) -> str:
    """Return a record's place, counted from 1."""
    host = text(record, "host") or text(record, "name")
    return f"record {number} ({text(record, 'type')} {host})"
