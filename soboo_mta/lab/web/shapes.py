"""The shapes of the API's answers; their keys are those of docs/lab.md's records."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from soboo_mta.lab.mailbox import Kept
from soboo_mta.lab.record import Refusal, Verdict


class Spf(BaseModel):
    """RFC 7208 results; `domain` is the one that DMARC looks at."""

    model_config = ConfigDict(from_attributes=True)
    domain: str
    mail_from: str
    helo: str
    reason: str


class Dkim(BaseModel):
    """One signature."""

    model_config = ConfigDict(from_attributes=True)
    d: str
    s: str
    a: str
    result: str
    reason: str


class Judgement(BaseModel):
    """What a receiver thinks of a message."""

    message_id: str
    author: str = Field(alias="from")
    from_domain: str
    spf: Spf
    dkim: list[Dkim]
    dmarc: str
    dmarc_policy: str
    dmarc_reason: str
    aligned: bool
    aligned_by: list[str]

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """Return a verdict as the API says it."""
        return cls.model_validate(verdict.as_values())


class Message(Judgement):
    """One message in a list."""

    number: int
    received_at: datetime
    subject: str
    mail_from: str
    rcpt_to: list[str]
    peer: str
    sink: str
    helo: str
    tls: bool
    login: str
    size: int

    @classmethod
    def kept(cls, one: Kept) -> Self:
        """Return a kept message as the API says it."""
        own = {"number": one.number, "subject": one.subject, "from": one.author}
        return cls.model_validate(one.record.as_values() | own)


class Attachment(BaseModel):
    """A part that is not the text; `number` is its place in the URL."""

    model_config = ConfigDict(from_attributes=True)
    number: int
    name: str
    kind: str
    content_id: str
    size: int


class WholeMessage(Message):
    """One message with what is in it."""

    headers: list[tuple[str, str]]
    text: str
    html: str
    links: list[str]
    attachments: list[Attachment]

    @classmethod
    def kept(cls, one: Kept) -> Self:
        """Return a kept message with its content."""
        content = one.content
        return cls.model_validate(
            one.record.as_values()
            | {
                "number": one.number,
                "subject": one.subject,
                "from": one.author,
                "headers": content.fields,
                "text": content.text,
                "html": content.html,
                "links": content.links,
                "attachments": [
                    {
                        "number": part.number,
                        "name": part.name,
                        "kind": part.kind,
                        "content_id": part.content_id,
                        "size": len(part.octets),
                    }
                    for part in content.parts
                ],
            }
        )


class MessageList(BaseModel):
    """Messages, the newest first; `total` were found, `dropped` are no longer kept."""

    total: int
    dropped: int
    messages: list[Message]


class Deleted(BaseModel):
    """How many were there."""

    deleted: int


class TurnedAway(BaseModel):
    """A moment at which a rule kept something from being received."""

    model_config = ConfigDict(from_attributes=True)
    number: int
    at: datetime
    peer: str
    stage: str
    recipients: list[str]
    action: str
    reply: str

    @classmethod
    def of(cls, refusal: Refusal) -> Self:
        """Return a refusal as the API says it."""
        return cls.model_validate(refusal)


class Status(BaseModel):
    """Where the lab listens, and how full it is. `problems`: file → what is wrong."""

    version: str
    dns_address: str
    dns_port: int
    sinks: list[str]
    smtp_port: int
    zones_directory: str
    faults_file: str
    rules_file: str
    authority_file: str | None
    problems: dict[str, str]
    received: int
    kept: int
    kept_octets: int
    dropped: int
    limit_messages: int
    limit_octets: int
