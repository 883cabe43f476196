"""The demonstration's messages, and the count of what the sinks say of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from soboo_mta.lab.record import MessageRecord, Refusal

UNKNOWN = "nobody@alpha.test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message to submit. `when_broken`: while its domain's DNS is broken."""

    name: str
    user: str
    message: EmailMessage
    recipients: tuple[str, ...]
    when_broken: bool = False

    @property
    def expected(self) -> tuple[str, ...]:
        """Who gets it; the others are refused by their host."""
        return tuple(one for one in self.recipients if one != UNKNOWN)

    def copies(self, records: Sequence[MessageRecord]) -> list[MessageRecord]:
        """The sinks' records of this message, one a recipient and delivery."""
        name = str(self.message["Message-ID"])
        return [record for record in records if record.verdict.message_id == name]

    def told(
        self, records: Sequence[MessageRecord], refusals: Sequence[Refusal]
    ) -> list[str]:
        """One line a recipient: what its host took, or what it answered."""
        lines = []
        for recipient in self.recipients:
            for copy in self.copies(records):
                if recipient in copy.rcpt_to:
                    lines.append(f"{recipient}: {_verdict(copy)}")
            lines += [
                f"{recipient}: answered {refusal.reply}"
                for refusal in refusals
                if recipient in refusal.recipients
            ]
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counted in the sinks' records alone."""

    messages: int
    recipients: int
    delivered: int
    failed_as_they_should: int
    passed: int
    lost: int
    duplicates: int

    @property
    def is_complete(self) -> bool:
        """Whether every recipient was reached or refused as planned, all aligned."""
        ended = self.delivered + self.failed_as_they_should
        return (
            ended == self.recipients
            and self.passed == self.delivered
            and self.lost == self.duplicates == 0
        )

    def sentence(self) -> str:
        """The last line of the demo."""
        twice = f", {self.duplicates} twice" if self.duplicates else ""
        return (
            f"demo: {self.messages} messages, {self.recipients} recipients: "
            f"{self.delivered} delivered, {self.failed_as_they_should} failed as they"
            f" should, {self.passed} DMARC pass, {self.lost} lost{twice}"
        )


def tally(
    sent: Sequence[Mail], records: Sequence[MessageRecord], refusals: Sequence[Refusal]
) -> Tally:
    """Count what the sinks have of `sent`."""
    delivered = passed = failed = lost = duplicates = 0
    for mail in sent:
        for recipient in mail.recipients:
            copies = [c for c in mail.copies(records) if recipient in c.rcpt_to]
            delivered += bool(copies)
            duplicates += max(0, len(copies) - 1)
            passed += bool(copies) and all(_is_aligned(copy) for copy in copies)
            refused = recipient == UNKNOWN and any(
                recipient in r.recipients and r.reply.startswith("550")
                for r in refusals
            )
            failed += refused and not copies
            lost += not copies and not refused
    return Tally(
        messages=len(sent),
        recipients=sum(len(mail.recipients) for mail in sent),
        delivered=delivered,
        failed_as_they_should=failed,
        passed=passed,
        lost=lost,
        duplicates=duplicates,
    )


def mails() -> list[Mail]:
    """The messages of the demonstration."""
    return [
        Mail(
            name="a plain message",
            user="acme-app",
            message=_plain("Acme <hello@acme.example>", "ann@alpha.test", "1"),
            recipients=("ann@alpha.test",),
        ),
        Mail(
            name="HTML, UTF-8 and an attachment",
            user="nordwind-app",
            message=_rich("Nordwind <post@nordwind.example>", "bea@beta.test"),
            recipients=("bea@beta.test",),
        ),
        Mail(
            name="several recipients, one unknown, some greylisted",
            user="esp-server",
            message=_plain("Acme <news@acme.example>", "friends@acme.example", "3"),
            recipients=(
                "ann@alpha.test",
                "bea@beta.test",
                "cas@gamma.test",
                "dan@gamma.test",
                UNKNOWN,
            ),
        ),
        Mail(
            name="a domain whose key was pasted by hand",
            user="acme-app",
            message=_plain("Verein <vorstand@verein.example>", "cas@gamma.test", "4"),
            recipients=("cas@gamma.test",),
        ),
        Mail(
            name="sent while its domain's DNS is broken",
            user="nordwind-app",
            message=_plain(
                "Nordwind <rechnung@nordwind.example>", "ann@alpha.test", "5"
            ),
            recipients=("ann@alpha.test", "bea@beta.test"),
            when_broken=True,
        ),
    ]


def _plain(author: str, to: str, number: str) -> EmailMessage:
    message = EmailMessage()
    domain = author.rpartition("@")[2].rstrip(">")
    message["From"], message["To"] = author, to
    message["Subject"] = f"Demonstration {number}"
    message["Message-ID"] = f"<demo-{number}@{domain}>"
    message.set_content("Hello,\n\n.a line that begins with a dot\n\nBye.\n")
    return message


def _rich(author: str, to: str) -> EmailMessage:
    message = _plain(author, to, "2")
    message.replace_header("Subject", "Grüße aus dem Norden: 2 Käse, 1 Öl")
    message.set_content("Schöne Grüße!\n", cte="8bit")
    message.add_alternative("<p>Schöne <b>Grüße</b>!</p>", subtype="html")
    message.add_attachment(
        bytes(range(256)) * 40, maintype="application", subtype="pdf", filename="ä.pdf"
    )
    return message


def _verdict(copy: MessageRecord) -> str:
    judged = copy.verdict
    signatures = ", ".join(f"{s.result} d={s.d} s={s.s}" for s in judged.dkim)
    return (
        f"delivered; SPF {judged.spf.result} ({judged.spf.domain}); "
        f"DKIM {signatures or 'none'}; DMARC {judged.dmarc}"
    )


def _is_aligned(copy: MessageRecord) -> bool:
    return copy.verdict.dmarc == "pass"
