"""DMARC aggregate reports: RFC 9990's XML and the older form (RFC 7489 appendix C).

Read as a stream, so that memory does not grow with what is left out. A document type is
refused: nothing of a report needs entities. Names are taken without their namespace.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from xml.parsers import expat

from soboo_mta.formats.dsn.status import one_line
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.returned import DkimResult, DmarcReport, DmarcRow

MAX_ROWS = 20_000
_MAX_DEPTH = 12
_MAX_TEXT = 2_000
_MAX_COUNT = 1_000_000_000
_MAX_RESULTS = 20  # signatures of one row
_LONGEST = 400 * 86_400  # seconds


def read_dmarc_report(octets: bytes) -> DmarcReport:
    """Return what the XML says; raise FormatError where it is no aggregate report.

    Rows that are broken, or over the bound, are counted in `left_out`; a document that
    breaks off gives the rows before.
    """
    reader = _Reader()
    fault = reader.read(octets)
    if not reader.is_feedback:
        raise FormatError(fault or "the XML is no aggregate report: no <feedback>")
    head = reader.head
    domain = _said(head, "policy_published/domain").lower().rstrip(".")
    if not domain or not (reader.found or reader.left_out):
        raise FormatError(fault or "the report names no domain, or has no record")
    begin = _time(_said(head, "report_metadata/date_range/begin"))
    end = _time(_said(head, "report_metadata/date_range/end"))
    if not 0 <= (end - begin).total_seconds() <= _LONGEST:
        raise FormatError("the report's end is not after its beginning")
    return DmarcReport(
        reporter=_said(head, "report_metadata/org_name")
        or _said(head, "report_metadata/email"),
        report_id=_said(head, "report_metadata/report_id"),
        domain=domain,
        begin=begin,
        end=end,
        policy=_said(head, "policy_published/p").lower(),
        subdomain_policy=_said(head, "policy_published/sp").lower(),
        rows=tuple(reader.found),
        left_out=reader.left_out + (1 if fault else 0),
    )


_Texts = list[tuple[str, str]]
"""(path, text) in the order of the document; the path is below feedback or record."""


class _Reader:
    """Collects the head's texts and each record's, by path."""

    def __init__(self) -> None:
        self.is_feedback = False
        self.head: _Texts = []
        self.found: list[DmarcRow] = []
        self.left_out = 0
        self._path: list[str] = []
        self._record: _Texts = []
        self._text: list[str] = []
        self._length = 0

    def read(self, octets: bytes) -> str:
        """Return why reading ended early, "" where it did not."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(_readable(octets), True)
        except (expat.ExpatError, FormatError, ValueError, LookupError) as error:
            return f"the XML breaks off: {one_line(str(error), 200)}"
        return ""

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        self._path.append(name.rpartition(" ")[2].lower())
        if len(self._path) > _MAX_DEPTH:
            raise FormatError("elements are too deep in each other")
        if self._path == ["feedback"]:
            self.is_feedback = True
        self._text, self._length = [], 0

    def _characters(self, text: str) -> None:
        if self._length < _MAX_TEXT:
            self._text.append(text)
            self._length += len(text)

    def _end(self, _name: str) -> None:
        text = one_line("".join(self._text), 400)
        where = self._path[1:]
        if where[:1] == ["record"]:
            if len(where) == 1:
                self._take()
            elif len(self._record) < 1_000:
                self._record.append(("/".join(where[1:]), text))
        elif text and len(self.head) < 1_000:
            self.head.append(("/".join(where), text))
        self._path.pop()
        self._text, self._length = [], 0

    def _take(self) -> None:
        row = _row(self._record) if len(self.found) < MAX_ROWS else None
        if row is None:
            self.left_out += 1
        else:
            self.found.append(row)
        self._record = []


def _refuse(*_: object) -> None:
    raise FormatError("a report needs no document type")


def _readable(octets: bytes) -> bytes:
    """Octets that are not what they say, and no XML character, do not end a report."""
    octets = octets.lstrip(b"\xef\xbb\xbf \t\r\n\0")
    if octets[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return octets
    head = octets[:200].lower()
    if b"encoding" in head and b"utf-8" not in head and b"utf8" not in head:
        return octets
    return octets.decode("utf-8", "replace").encode()


def _row(texts: _Texts) -> DmarcRow | None:
    said = {path: text for path, text in reversed(texts) if text}  # the first of each
    count = _number(said.get("row/count", ""))
    source = said.get("row/source_ip", "")
    if count is None or not source:
        return None
    evaluated = "row/policy_evaluated"
    lowered = {path: text.lower() for path, text in said.items()}
    return DmarcRow(
        source_ip=source,
        count=count,
        disposition=lowered.get(f"{evaluated}/disposition", ""),
        dkim=lowered.get(f"{evaluated}/dkim", ""),
        spf=lowered.get(f"{evaluated}/spf", ""),
        header_from=lowered.get("identifiers/header_from")
        or lowered.get("identities/header_from", ""),  # drafts before RFC 7489
        envelope_from=lowered.get("identifiers/envelope_from", ""),
        reasons=tuple(_every(texts, f"{evaluated}/reason/type"))[:_MAX_RESULTS],
        dkim_results=tuple(_signatures(texts))[:_MAX_RESULTS],
        spf_domain=lowered.get("auth_results/spf/domain", ""),
        spf_result=lowered.get("auth_results/spf/result", ""),
    )


def _signatures(texts: _Texts) -> Iterator[DkimResult]:
    prefix = "auth_results/dkim"
    one: dict[str, str] = {}
    for path, text in texts:
        if path == prefix:  # its end
            if one.get("domain"):
                yield DkimResult(
                    domain=one["domain"].lower(),
                    selector=one.get("selector", ""),
                    result=one.get("result", "").lower(),
                )
            one = {}
        elif path.startswith(f"{prefix}/"):
            one.setdefault(path.removeprefix(f"{prefix}/"), text)


def _said(texts: _Texts, path: str) -> str:
    return next((text for at, text in texts if at == path and text), "")


def _every(texts: _Texts, path: str) -> Iterator[str]:
    return (text for at, text in texts if at == path and text)


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        return None
    return min(int(text), _MAX_COUNT)


def _time(text: str) -> datetime:
    """Seconds, as both forms have it; some write a date."""
    number = text.partition(".")[0]
    try:
        if number.isascii() and number.isdigit():
            return datetime.fromtimestamp(int(number[:12]), UTC)
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError, OSError) as error:
        raise FormatError(f"the report's time {text[:40]!r} is none") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
