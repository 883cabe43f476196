"""What three independent verifiers think: Mail::DKIM, Mail::SPF and OpenDKIM.

None of it is this project's code or shares a library with it. `opendkim -t` exits 0 for a
forged message too, so its Authentication-Results are read (RFC 8601).
"""

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.utils import parseaddr
from pathlib import Path

from soboo_mta.lab.record import MessageRecord
from tests.interop.running import run

_HERE = Path(__file__).parent
_INSERTED = re.compile(r"^### INSHEADER: .*? hvalue='(.*?)'$", re.M | re.S)
_COMMENT = re.compile(r"\([^()]*\)|\"[^\"]*\"")
_SIGNATURE = re.compile(r"dkim=(\w+)[^;]*header\.d=(\S+)[^;]*header\.a=(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A message in a file and the envelope that it came with."""

    file: Path
    client: str
    helo: str
    mail_from: str  # "" for the null one


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature: its d=, a= and what a verifier made of it."""

    d: str
    a: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What the verifiers say of one message; no signatures where one can't read it."""

    author_domain: str
    spf: str  # Mail::SPF's result
    spf_domain: str
    mail_dkim: tuple[Signature, ...]
    opendkim: tuple[Signature, ...]

    @property
    def by_spf(self) -> bool:
        return self.spf == "pass" and self._is_aligned(self.spf_domain)

    @property
    def by_mail_dkim(self) -> bool:
        return any(map(self._is_good, self.mail_dkim))

    @property
    def by_opendkim(self) -> bool:
        return any(map(self._is_good, self.opendkim))

    @property
    def by_anyone(self) -> bool:
        return self.by_spf or self.by_mail_dkim or self.by_opendkim

    def agrees_on(self, domain: str) -> bool:
        """Whether all of them find the message aligned for `domain`, its Author's."""
        verdicts = (self.by_spf, self.by_mail_dkim, self.by_opendkim)
        return self.author_domain == domain and all(verdicts)

    def _is_good(self, signature: Signature) -> bool:
        return signature.result == "pass" and self._is_aligned(signature.d)

    def _is_aligned(self, domain: str) -> bool:
        """Relaxed (RFC 9989 §4.4); every organization here is NAME.example."""
        return _organization(domain) == _organization(self.author_domain)


async def judge(suspects: Sequence[Suspect], dns_port: int) -> list[Opinion]:
    """Return the opinions, in the order of `suspects`."""
    perl = await _ask_perl(suspects, dns_port)
    opendkim = await _ask_opendkim([one.file for one in suspects], dns_port)
    return [
        Opinion(
            author_domain=_author_domain(suspect.file),
            spf=said["spf"],
            spf_domain=(suspect.mail_from or suspect.helo).rpartition("@")[2],
            mail_dkim=tuple(Signature(**signature) for signature in said["dkim"]),
            opendkim=signatures,
        )
        for suspect, said, signatures in zip(suspects, perl, opendkim, strict=True)
    ]


def suspect(record: MessageRecord, file: Path | None = None) -> Suspect:
    """A message as a sink received it; `file` puts other octets in the same envelope."""
    kept = file or record.raw
    assert kept is not None
    return Suspect(
        file=kept, client=record.peer, helo=record.helo, mail_from=record.mail_from
    )


async def _ask_perl(suspects: Sequence[Suspect], dns_port: int) -> list[dict]:
    asked = [
        json.dumps(
            {
                "file": str(one.file),
                "client": one.client,
                "helo": one.helo,
                "mail_from": one.mail_from,
            }
        )
        for one in suspects
    ]
    ended = await run(
        "perl", _HERE / "verify.pl", str(dns_port), stdin="\n".join(asked) + "\n"
    )
    assert ended.code == 0, ended.text
    return [json.loads(line) for line in ended.out.splitlines()]


async def _ask_opendkim(
    files: Sequence[Path], dns_port: int
) -> list[tuple[Signature, ...]]:
    """All in one go; it may stop at an odd message, then each in a go of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write(
            f"Mode v\nNameservers 127.0.0.1@{dns_port}\nSyslog no\nAlwaysAddARHeader yes\n"
        )
        config.flush()
        said = await _said_by_opendkim(config.name, files)
        if len(said) != len(files):
            alone = [await _said_by_opendkim(config.name, [file]) for file in files]
            said = ["".join(one) for one in alone]
    return [
        tuple(
            Signature(result=result, d=d, a=a)
            for result, d, a in _SIGNATURE.findall(_COMMENT.sub("", text))
        )
        for text in said
    ]


async def _said_by_opendkim(config: str, files: Sequence[Path]) -> list[str]:
    names = ",".join(map(str, files))
    ended = await run("/usr/sbin/opendkim", "-x", config, "-vv", "-t", names)
    return _INSERTED.findall(ended.out)


def _author_domain(file: Path) -> str:
    """By Python's own parser; "" where there is not exactly one From."""
    fields = BytesHeaderParser().parsebytes(file.read_bytes()).get_all("From", [])
    if len(fields) != 1:
        return ""
    return parseaddr(str(fields[0]))[1].rpartition("@")[2].lower()


def _organization(domain: str) -> str:
    return ".".join(domain.lower().split(".")[-2:])
