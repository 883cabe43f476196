"""The text of an Authentication-Results field (RFC 8601 §2.2), from words of any origin.

A value that is no token, or longer than any name, becomes a short quoted string without
anything in it that could end it (RFC 2045 §5.1) or is no printable ASCII. Pure.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from soboo_mta.formats.dsn.status import one_line
from soboo_mta.mail.domain import MAX_DOMAIN_OCTETS, Domain

_NAME = "Authentication-Results:"
_COLUMNS = 78  # RFC 5322 §2.1.1
_MAX_REASON = 60  # characters: one word to the folding, so it must fit a line
# The last so that a reader who knows no quotes sees no clause begin there.
_HARMLESS = str.maketrans({'"': "'", "\\": "/", ";": ","})
_TOKEN = re.compile(r"[!#$%&'*+.0-9A-Z^_`a-z{|}~-]+")


@dataclass(frozen=True, slots=True)
class Clause:
    """One method and its result; properties without a value are left out. `comment` is
    our own words, `reason` anybody's."""

    method: str
    result: str
    properties: tuple[tuple[str, str | None], ...] = ()
    reason: str = ""
    comment: str = ""


def authentication_results(authserv_id: Domain, clauses: Iterable[Clause]) -> str:
    """Return the whole field, each clause on a line of its own, with the final CRLF."""
    lines = [f"{_NAME} {authserv_id}"]
    for clause in clauses:
        lines[-1] += ";"
        lines += _folded(_words(clause))
    return "\r\n".join(lines) + "\r\n"


def _words(clause: Clause) -> Iterator[str]:
    """What folding keeps whole."""
    yield f"{clause.method}={clause.result}"
    if clause.comment:
        yield from f"({clause.comment})".split()
    if clause.reason:
        yield f"reason={_value(clause.reason)}"
    for name, value in clause.properties:
        if value:
            yield f"{name}={_value(value)}"


def _value(text: str) -> str:
    if len(text) <= MAX_DOMAIN_OCTETS and _TOKEN.fullmatch(text):
        return text
    clean = one_line(text, _MAX_REASON, ascii_only=True)
    return '"' + clean.translate(_HARMLESS) + '"'


def _folded(words: Iterable[str]) -> list[str]:
    lines = [""]
    for word in words:
        # One column is kept for the semicolon that may follow.
        if lines[-1] and len(lines[-1]) + 1 + len(word) >= _COLUMNS:
            lines.append("")
        lines[-1] += f" {word}"
    return lines
