"""The JSON that the HTTP door takes: one message, or a batch of them.

Shape and types alone: unknown keys are refused, and what the values mean is decided in
`compose` and `submit`. Every field that comes to stand in a header is text without
control characters, so that no value can begin a line of its own (case 56).
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import parse_stream
from soboo_mta.web.inject.answers import FieldError

MAX_KEY_CHARACTERS = 200
_MAX_FILE_NAME = 255  # octets; written in hexadecimal it fits a line
_MAX_LISTED = 10_000  # addresses of one field; what is accepted is a setting
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARACTERS}}}")
_FIELD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,75}")
CONTENT_TYPE = re.compile(
    r"([a-z0-9][a-z0-9!#$&^_.+-]{0,126})/([a-z0-9][a-z0-9!#$&^_.+-]{0,126})"
    r"(?: *; *charset=\"?([a-z0-9][a-z0-9._:+-]{0,39})\"?)?",
    re.IGNORECASE,
)
_CONTENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{0,199}")
_OWN = frozenset(  # have a key of their own, or are made here
    [
        "from",
        "to",
        "cc",
        "bcc",
        "reply-to",
        "subject",
        "mime-version",
        "content-type",
        "return-path",
        "resent-bcc",
        "content-transfer-encoding",
        "content-disposition",
        "content-id",
        "received",
    ]
)


def _one_line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("has a line end or another control character: take it out")
    return text


def _body(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL: send such content as an attachment")
    return text


def _field_name(name: str) -> str:
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError("is no field name: letters, digits and hyphens, at most 76")
    if name.lower() in _OWN:
        raise ValueError(
            "is not set this way: it has a key of its own, or is made here"
        )
    return name


def _file_name(name: str) -> str:
    if len(name.encode()) > _MAX_FILE_NAME:
        raise ValueError(f"is over {_MAX_FILE_NAME} octets")
    return _one_line(name)


def _stream(name: str) -> str:
    try:
        return parse_stream(name) if name else ""
    except FormatError as error:
        raise ValueError(str(error)) from error


def _pattern(pattern: "re.Pattern[str]", why: str) -> AfterValidator:
    def fits(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(why)
        return text

    return AfterValidator(fits)


def is_key(text: str) -> bool:
    """Whether `text` can be an idempotency key."""
    return _KEY.fullmatch(text) is not None


Line = Annotated[str, AfterValidator(_one_line), Field(max_length=10_000)]
Name = Annotated[str, AfterValidator(_one_line), Field(max_length=255)]
FileName = Annotated[str, AfterValidator(_file_name)]
Body = Annotated[str, AfterValidator(_body)]
FieldName = Annotated[str, AfterValidator(_field_name)]
Key = Annotated[
    str, _pattern(_KEY, "is not 1 to 200 visible ASCII characters without spaces")
]
StreamName = Annotated[str, AfterValidator(_stream)]
ContentType = Annotated[
    str, _pattern(CONTENT_TYPE, "is no media type, such as application/pdf")
]
ContentId = Annotated[
    str, _pattern(_CONTENT_ID, "is no content id: letters, digits, a few signs")
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Correspondent(_Strict):
    """An address with a display name."""

    address: Line = Field(examples=["ann@example.org"])
    name: Name = Field(default="", examples=["Ann Example"])


# What came as JSON is of any type until it was looked at: Any.
def _split(value: Any) -> Any:
    """`Ann Example <ann@example.org>`, the name perhaps in quotes; or the address."""
    if not isinstance(value, str):
        return value
    before, angle, inside = value.rstrip(" ").rpartition("<")
    if not angle or not inside.endswith(">"):
        return {"address": value}
    name = before.strip(" ")
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return {"name": name, "address": inside[:-1]}


def _listed(value: Any) -> Any:
    if not isinstance(value, list):
        return [value]
    if len(value) > _MAX_LISTED:
        raise ValueError(f"has over {_MAX_LISTED} entries")
    return value


Address = Annotated[
    Correspondent, BeforeValidator(_split, json_schema_input_type=Correspondent | str)
]
"""Also one text: `ann@example.org` or `Ann Example <ann@example.org>`."""
Addresses = Annotated[
    tuple[Address, ...],
    BeforeValidator(
        _listed, json_schema_input_type=Correspondent | str | list[Correspondent | str]
    ),
]
Values = Annotated[
    tuple[Line, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])
]


class Attachment(_Strict):
    """A file. With a `content_id` it is part of the HTML, which names it `cid:…`."""

    filename: FileName = Field(default="", examples=["invoice.pdf"])
    content_type: ContentType = "application/octet-stream"
    content: str = Field(description="The octets in base64.")
    content_id: ContentId | None = None


class EnvelopePart(_Strict):
    """Who it goes to and where returns go, where the header does not say so."""

    sender: Line | None = Field(
        default=None, alias="from", description='The reverse-path; "" is the null one.'
    )
    to: tuple[Line, ...] = Field(
        default=(), description="Instead of all of to, cc and bcc."
    )


class JsonMessage(_Strict):
    """One message. Either `raw` or `raw_base64`, or what to make it of."""

    sender: Address | None = Field(default=None, alias="from")
    to: Addresses = ()
    cc: Addresses = ()
    bcc: Addresses = Field(default=(), description="Never in the header.")
    reply_to: Addresses = ()
    subject: Line = ""
    text: Body | None = None
    html: Body | None = None
    headers: Mapping[FieldName, Values] = Field(
        default_factory=dict, description="Further fields of the header."
    )
    attachments: Annotated[tuple[Attachment, ...], Field(max_length=1_000)] = ()
    envelope: EnvelopePart = EnvelopePart()
    raw: Body | None = Field(
        default=None, description="A whole message (RFC 5322), its envelope beside it."
    )
    raw_base64: str | None = Field(default=None, description="The same in base64.")
    stream: StreamName = Field(
        default="",
        description="Which kind of the account's mail it is: for its suppression list.",
        examples=["news"],
    )
    idempotency_key: Key | None = None

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        whole = [
            name for name in ("raw", "raw_base64") if getattr(self, name) is not None
        ]
        parts = self.model_fields_set - {
            "raw",
            "raw_base64",
            "envelope",
            "stream",
            "idempotency_key",
        }
        if len(whole) > 1:
            raise ValueError("raw and raw_base64 are the same thing: send one")
        if whole and parts:
            raise ValueError(
                f"{whole[0]} is the whole message: only envelope and stream go with it"
            )
        if not whole and self.sender is None:
            raise ValueError("from is missing")
        if (
            not whole
            and self.text is None
            and self.html is None
            and not self.attachments
        ):
            raise ValueError("text, html, attachments or raw is missing")
        return self


class Batch(_Strict):
    """Several messages; each is kept or refused by itself."""

    messages: list[JsonMessage]


def message_of(item: Any) -> JsonMessage:
    """Return the message that a JSON value is; raise FieldError."""
    try:
        return JsonMessage.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise FieldError(_place(first), _why(first)) from error


def _place(detail: ErrorDetails) -> str:
    """As the JSON is written: `attachments[0].content`."""
    place = ""
    for part in detail["loc"]:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part != "[key]":  # pydantic's word for "the name, not the value"
            place += f".{part}" if place else part
    return place[:100] or "message"


def _why(detail: ErrorDetails) -> str:
    return _WORDS.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")


_WORDS = {
    "extra_forbidden": "there is no such key",
    "missing": "is missing",
    "model_type": "is not an object, nor text that stands for one",
}
