"""What the HTTP door answers: a reply of SMTP in JSON, with the HTTP status it means.

Every answer, good or bad, has `code`, `status` and `text`: those of the SMTP listener for
the same thing. What only HTTP can get wrong has its replies here. RFC 9110 §15.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from soboo_mta.mail.address import Mailbox
from soboo_mta.mail.errors import Reject
from soboo_mta.mail.reply import Reply, reply
from soboo_mta.submission import replies

SEND_OVER_TLS = reply(538, "5.7.11", "Send a credential over TLS, to an https address")
LOGIN_FIRST = reply(530, "5.7.0", "Authenticate: HTTP Basic with user name and secret")
NO_SUCH_MESSAGE = reply(550, "5.0.0", "This account has no such message")
NO_SUCH_PAGE = reply(500, "5.5.1", "There is no such address: see /v1/openapi.json")
WRONG_METHOD = reply(502, "5.5.1", "This address does not take that method")
WRONG_TYPE = reply(
    501, "5.5.4", "Send Content-Type application/json or message/rfc822, not encoded"
)
WRONG_REPORT = reply(
    501,
    "5.5.4",
    "Send Content-Type application/tlsrpt+gzip or application/tlsrpt+json (RFC 8460)",
)
BAD_KEY = reply(501, "5.5.4", "Idempotency-Key is 1 to 200 visible ASCII characters")

_RETRY_SOON = 5  # seconds: the store or memory, as a rule
_RETRY_LATER = 60  # a quota, or a bar after wrong secrets
_STATUS_OF = {
    NO_SUCH_MESSAGE: 404,
    NO_SUCH_PAGE: 404,
    WRONG_METHOD: 405,
    WRONG_TYPE: 415,
    WRONG_REPORT: 415,
    replies.TOO_SLOW: 408,
    replies.LOGIN_UNAVAILABLE: 503,
    replies.TOO_MANY_RECIPIENTS: 422,  # the same request again would not pass either
}
_STATUS_OF_CODE = {250: 202, 530: 401, 535: 401, 538: 403, 552: 413}


class Refused(BaseModel):
    """A recipient of an accepted message that it does not go to, and why."""

    model_config = ConfigDict(frozen=True)

    recipient: str
    code: int = Field(examples=[550])
    status: str = Field(examples=["5.7.1"])
    text: str


class Answered(BaseModel):
    """What became of one request; `code`, `status` and `text` as SMTP says it."""

    model_config = ConfigDict(frozen=True)

    code: int = Field(description="The SMTP reply code.", examples=[250])
    status: str = Field(
        description="The enhanced status code of RFC 3463.", examples=["2.0.0"]
    )
    text: str = Field(description="What happened, or what to change.")
    id: str | None = Field(
        default=None, description="The message's id, where it was accepted."
    )
    field: str | None = Field(
        default=None, description="Which field of the JSON is wrong, where one is."
    )
    refused: tuple[Refused, ...] | None = Field(
        default=None,
        description="Recipients that were left out, where the account wants them told.",
    )


class Result(Answered):
    """What became of one message of a batch; `http` is the status it has alone."""

    http: int = Field(examples=[202])


class Results(BaseModel):
    """What became of each message of a batch, in its order."""

    results: list[Result]


class FieldError(Reject):
    """A field of the JSON is wrong; `field` says which, in the words of the JSON."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(reply(501, "5.5.4", f"{name}: {why}"))
        self.field = name


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, ready to be sent."""

    http: int
    content: Answered
    headers: dict[str, str] = field(default_factory=dict)


def accepted(kept: Reply, refused: Mapping[Mailbox, Reply]) -> Answer:
    """The message is kept, for all recipients but those refused; its id is the last word
    of the reply."""
    _, _, message_id = kept.text.rpartition(" ")
    left_out = tuple(
        Refused(
            recipient=str(mailbox),
            code=told.code,
            status=str(told.status),
            text=told.text,
        )
        for mailbox, told in refused.items()
    )
    content = _content(kept, message_id=message_id, refused=left_out or None)
    return Answer(http=http_status(kept), content=content)


def refused(refusal: Reject) -> Answer:
    """The request or one message of it was refused."""
    told = refusal.reply
    name = refusal.field if isinstance(refusal, FieldError) else None
    http = http_status(told)
    headers = {}
    if http == 401:
        headers["www-authenticate"] = 'Basic realm="soboo-mta", charset="UTF-8"'
    elif http in (429, 503):
        wait = _RETRY_LATER if http == 429 else _RETRY_SOON
        headers["retry-after"] = str(wait)
    elif http == 408:
        headers["connection"] = "close"
    return Answer(http=http, content=_content(told, field=name), headers=headers)


def http_status(told: Reply) -> int:
    """Return the HTTP status that says what `told` says."""
    if told in _STATUS_OF:
        return _STATUS_OF[told]
    if told.code in _STATUS_OF_CODE:
        return _STATUS_OF_CODE[told.code]
    status = str(told.status)
    if told.is_transient:
        return 429 if status.startswith("4.7.") else 503
    return 403 if status == "5.7.1" else 422


def _content(
    told: Reply,
    *,
    message_id: str | None = None,
    field: str | None = None,
    refused: tuple[Refused, ...] | None = None,
) -> Answered:
    return Answered(
        code=told.code,
        status=str(told.status),
        text=told.text,
        id=message_id,
        field=field,
        refused=refused,
    )
