"""A message that a sink received, as a test looks at it: content, verdicts, assertions.

An assertion that fails says what was found and why, in the words of the verifiers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

Fetch = Callable[[str], bytes]
"""Fetches what is below the message in the lab's API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One DKIM signature: its d=, s=, a=, the result and why (RFC 8601 §2.7.1)."""

    domain: str
    selector: str
    algorithm: str
    result: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a receiver thinks: results in lower case, as RFC 8601 §2.7 has them.

    `aligned_by` names what passes for the Author domain, as "SPF of bounce.shop.example".
    """

    author_domain: str
    spf: str
    spf_domain: str
    spf_reason: str
    helo: str
    dkim: tuple[Signature, ...]
    dmarc: str
    dmarc_policy: str
    dmarc_reason: str
    aligned: bool
    aligned_by: tuple[str, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Verdict":
        """Return what the lab's API said."""
        return cls(
            author_domain=said["from_domain"],
            spf=said["spf"]["mail_from"],
            spf_domain=said["spf"]["domain"],
            spf_reason=said["spf"]["reason"],
            helo=said["spf"]["helo"],
            dkim=tuple(
                Signature(
                    domain=one["d"],
                    selector=one["s"],
                    algorithm=one["a"],
                    result=one["result"],
                    reason=one["reason"],
                )
                for one in said["dkim"]
            ),
            dmarc=said["dmarc"],
            dmarc_policy=said["dmarc_policy"],
            dmarc_reason=said["dmarc_reason"],
            aligned=said["aligned"],
            aligned_by=tuple(said["aligned_by"]),
        )

    def __str__(self) -> str:
        """Say all of it, a line each."""
        lines = [
            f"SPF {self.spf} of {self.spf_domain or 'no domain'}: {self.spf_reason}"
        ]
        lines += [
            f"DKIM {one.result} d={one.domain} s={one.selector} {one.algorithm}"
            f"{': ' + one.reason if one.reason else ''}"
            for one in self.dkim
        ] or ["DKIM none: no signature"]
        policy_said = f" p={self.dmarc_policy}" if self.dmarc_policy else ""
        lines.append(
            f"DMARC {self.dmarc} of {self.author_domain or 'no domain'}{policy_said}:"
            f" {self.dmarc_reason}"
        )
        return "\n".join(lines)

    def assert_aligned(self) -> "Verdict":
        """SPF or DKIM passes for the Author domain, with or without a DMARC record."""
        __tracebackhide__ = True
        return self._assert(self.aligned, "is not aligned")

    def assert_dmarc(self, result: str = "pass") -> "Verdict":
        """DMARC comes to this result."""
        __tracebackhide__ = True
        return self._assert(self.dmarc == result, f"has not DMARC {result}")

    def assert_spf(self, result: str = "pass", *, domain: str = "") -> "Verdict":
        """SPF of the reverse-path comes to this result, for this domain where given."""
        __tracebackhide__ = True
        good = self.spf == result and domain in ("", self.spf_domain)
        return self._assert(good, f"has not SPF {result}{_of(domain)}")

    def assert_dkim(self, result: str = "pass", *, domain: str = "") -> "Verdict":
        """A signature comes to this result, of this domain where given."""
        __tracebackhide__ = True
        good = any(
            one.result == result and domain in ("", one.domain) for one in self.dkim
        )
        return self._assert(good, f"has not DKIM {result}{_of(domain)}")

    def _assert(self, good: bool, what: str) -> "Verdict":
        __tracebackhide__ = True
        if not good:
            found = str(self).replace("\n", "\n  ")
            raise AssertionError(f"the message {what}:\n  {found}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedAttachment:
    """A part that is not the text; inline images are such parts, too."""

    name: str
    kind: str
    content_id: str
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """One message. `sender` is the reverse-path, "" for the null one; `author` the From
    field; `links` are those of both texts; `host` is the sink that took it."""

    number: int
    sender: str
    recipients: tuple[str, ...]
    author: str
    subject: str
    text: str
    html: str
    links: tuple[str, ...]
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    client: str
    helo: str
    host: str
    user: str
    is_tls: bool
    size: int
    verdict: Verdict = field(repr=False)
    _attached: tuple[tuple[int, str, str, str], ...] = field(repr=False)
    _fetch: Fetch = field(repr=False, compare=False)

    @classmethod
    def of(cls, said: Mapping[str, Any], fetch: Fetch) -> "ReceivedMessage":
        """Return what the lab's API said of one message."""
        return cls(
            number=said["number"],
            sender=said["mail_from"],
            recipients=tuple(said["rcpt_to"]),
            author=said["from"],
            subject=said["subject"],
            text=said["text"].replace("\r\n", "\n"),
            html=said["html"].replace("\r\n", "\n"),
            links=tuple(said["links"]),
            headers=tuple((name, value) for name, value in said["headers"]),
            client=said["peer"],
            helo=said["helo"],
            host=said["sink"],
            user=said["login"],
            is_tls=said["tls"],
            size=said["size"],
            verdict=Verdict.of(said),
            _attached=tuple(
                (one["number"], one["name"], one["kind"], one["content_id"])
                for one in said["attachments"]
            ),
            _fetch=fetch,
        )

    @property
    def raw(self) -> bytes:
        """The octets as they were received; fetched from the lab."""
        return self._fetch("raw")

    @property
    def email(self) -> EmailMessage:
        """The message parsed by the standard library."""
        made = BytesParser(policy=policy.default).parsebytes(self.raw)
        assert isinstance(made, EmailMessage)
        return made

    @property
    def attachments(self) -> tuple[ReceivedAttachment, ...]:
        """Attachments and inline images; fetched from the lab."""
        return tuple(
            ReceivedAttachment(
                name=name,
                kind=kind,
                content_id=content_id,
                octets=self._fetch(f"attachments/{number}"),
            )
            for number, name, kind, content_id in self._attached
        )

    def header(self, name: str) -> str:
        """The first field of that name, decoded; "" without one."""
        wanted = name.lower()
        return next((v for k, v in self.headers if k.lower() == wanted), "")

    def assert_aligned(self) -> "ReceivedMessage":
        """SPF or DKIM passes for the Author domain; else AssertionError that says why."""
        __tracebackhide__ = True
        self.verdict.assert_aligned()
        return self

    def assert_dmarc(self, result: str = "pass") -> "ReceivedMessage":
        """DMARC comes to this result; else AssertionError that says why."""
        __tracebackhide__ = True
        self.verdict.assert_dmarc(result)
        return self

    def assert_spf(
        self, result: str = "pass", *, domain: str = ""
    ) -> "ReceivedMessage":
        """As `Verdict.assert_spf`."""
        __tracebackhide__ = True
        self.verdict.assert_spf(result, domain=domain)
        return self

    def assert_dkim(
        self, result: str = "pass", *, domain: str = ""
    ) -> "ReceivedMessage":
        """As `Verdict.assert_dkim`."""
        __tracebackhide__ = True
        self.verdict.assert_dkim(result, domain=domain)
        return self

    def assert_tls(self) -> "ReceivedMessage":
        """It came over TLS."""
        __tracebackhide__ = True
        if not self.is_tls:
            raise AssertionError(f"the message came from {self.client} without TLS")
        return self


def _of(domain: str) -> str:
    return f" of {domain}" if domain else ""
