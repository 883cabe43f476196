"""What a sink received, as a value, as a JSON line, and as a file of its octets.

Owns the shape of a record and the writing of it before the sink answers, so that the
lines are in the order of the answers and none is missing that got `250`. Knows nothing
of SMTP and judges nothing.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfResult:
    """RFC 7208 results, in lower case, for both identities; `none` where not tried.

    `domain` is the one that DMARC looks at: of MAIL FROM, of HELO for the null one.
    """

    domain: str = ""
    mail_from: str = "none"
    helo: str = "none"
    reason: str = ""  # of the result for `domain`

    @property
    def result(self) -> str:
        """The result for `domain` (RFC 7489 §3.1.2)."""
        return self.mail_from


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimResult:
    """One signature, in the order of the header: its d=, s=, a= and what became of it.

    `result` is pass, fail, permerror or temperror (RFC 8601 §2.7.1).
    """

    d: str
    s: str
    a: str
    result: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a receiver would think of one message.

    `dmarc` is pass, fail, none (no record), permerror or temperror, with organizational
    domains by the public suffix list (RFC 7489). `aligned` says whether SPF or a
    signature passes for the Author domain, with or without a DMARC record.
    """

    author: str = ""  # the value of the From field, unfolded
    author_domain: str = ""
    message_id: str = ""
    spf: SpfResult = field(default_factory=SpfResult)
    dkim: tuple[DkimResult, ...] = ()
    dmarc: str = "none"
    dmarc_policy: str = ""
    aligned: bool = False
    dmarc_reason: str = ""
    aligned_by: tuple[str, ...] = ()  # as in "SPF of bounce.shop.test"

    def as_values(self) -> dict[str, object]:
        """Return what JSON takes, with the keys of docs/lab.md."""
        return {
            "message_id": self.message_id,
            "from": self.author,
            "from_domain": self.author_domain,
            "spf": asdict(self.spf),
            "dkim": [asdict(signature) for signature in self.dkim],
            "dmarc": self.dmarc,
            "dmarc_policy": self.dmarc_policy,
            "dmarc_reason": self.dmarc_reason,
            "aligned": self.aligned,
            "aligned_by": self.aligned_by,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """One message that a sink took responsibility for; `size` in octets."""

    received_at: datetime
    peer: str
    sink: str
    helo: str
    tls: bool
    mail_from: str  # "" for the null reverse-path
    rcpt_to: tuple[str, ...]
    size: int
    verdict: Verdict
    login: str = ""  # the user name given to AUTH
    raw: Path | None = None

    def as_values(self) -> dict[str, object]:
        """Return what JSON takes, with the keys of docs/lab.md."""
        return {
            "received_at": self.received_at.isoformat(timespec="milliseconds"),
            "peer": self.peer,
            "sink": self.sink,
            "helo": self.helo,
            "tls": self.tls,
            "login": self.login,
            "mail_from": self.mail_from,
            "rcpt_to": self.rcpt_to,
            "size": self.size,
            **self.verdict.as_values(),
            "raw": None if self.raw is None else str(self.raw),
        }

    def as_json(self) -> str:
        """Return the record as one line, without the line end."""
        return json.dumps(self.as_values())


class RecordFile:
    """Appends JSON lines, each one in a single write handed to the kernel at once.

    So a line survives the death of this process; a power cut may lose the last ones.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, record: MessageRecord) -> None:
        """Write one record; raises OSError, whereupon the message is not accepted."""
        line = record.as_json().encode() + b"\n"
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError("the record was cut short")

    def close(self) -> None:
        """Close the file; append no more."""
        os.close(self._file)


class RawFolder:
    """Keeps octets as they were received: one file each, written in `tmp`, then `new`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        for name in ("tmp", "new", "cur"):  # a mail reader can open it as a Maildir
            (directory / name).mkdir(parents=True, exist_ok=True)

    def keep(self, octets: bytes, received_at: datetime) -> Path:
        """Write one message and return its path; raises OSError."""
        self._count += 1
        stamp = f"{received_at.timestamp():.6f}.P{os.getpid()}Q{self._count}.lab"
        made = self._directory / "tmp" / stamp
        made.write_bytes(octets)
        return made.rename(self._directory / "new" / stamp)


def read_records(path: Path) -> list[dict[str, object]]:
    """Return the records of a file as parsed JSON, in order."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A moment at which a rule answered, hung or dropped: what was not received."""

    number: int  # from 1, in the order of the moments
    at: datetime
    peer: str
    stage: str
    recipients: tuple[str, ...]
    action: str
    reply: str
