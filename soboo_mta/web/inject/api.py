"""The application under /v1: mail in, what became of it out, and its own description.

Every answer has one shape, errors of the framework's included. A tenant sees its own
messages alone: another's is answered as one that never was (case 58).
"""

from datetime import UTC, datetime
from typing import Protocol

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from soboo_mta import __version__
from soboo_mta.mail.errors import FormatError, Reject
from soboo_mta.mail.ids import MessageId
from soboo_mta.spool.view import QueuedMessage, QueueEntry
from soboo_mta.store.unit import StoreError
from soboo_mta.submission import replies
from soboo_mta.web.inject import answers
from soboo_mta.web.inject.answers import Answer, Answered, Result, Results
from soboo_mta.web.inject.openapi import ACCEPTING, ERRORS, described
from soboo_mta.web.inject.submit import Submissions, login_of

_PREFIX = "/v1"


class Messages(Protocol):
    """Where a message's state is looked up; may raise StoreError."""

    async def __call__(self, message_id: MessageId) -> QueuedMessage | None: ...


class RecipientStatus(BaseModel):
    """One recipient: state and reason in the words of `soboo-mta queue why`."""

    recipient: str
    state: str = Field(examples=["deferred"])
    reason: str = Field(examples=["reply"])
    explanation: str = Field(description="The last reply, or what has to be mended.")
    due_at: datetime | None = Field(description="The next attempt, where one is due.")
    attempts: int


class MessageStatus(BaseModel):
    """A message that was accepted, and what became of each of its recipients."""

    id: str
    sender: str = Field(alias="from")
    message_id: str = Field(description="Its Message-ID field.")
    size: int = Field(description="Octets.")
    accepted_at: datetime
    expires_at: datetime
    settled_at: datetime | None
    recipients: list[RecipientStatus]


def api(submissions: Submissions, messages: Messages) -> FastAPI:
    """Return the application; it opens nothing."""
    app = FastAPI(
        title="soboo-mta",
        version=__version__,
        openapi_url=f"{_PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.openapi = lambda: described(app)  # type: ignore[method-assign]  # its way to change it

    @app.post(f"{_PREFIX}/messages", **ACCEPTING)
    async def post_message(request: Request) -> Response:
        """Submit one message, or several at once; each is kept or refused by itself."""
        return _sent(await submissions.take(request))

    @app.get(
        f"{_PREFIX}/messages/{{id}}",
        response_model=MessageStatus,
        responses={code: ERRORS[code] for code in (401, 403, 404, 429, 503)},
    )
    async def get_message(request: Request, id: str) -> Response:
        """Say what became of a message of this account, recipient by recipient."""
        login = await login_of(request, submissions.doorman)
        try:
            found = await messages(MessageId.parse(id))
        except FormatError as error:
            raise Reject(answers.NO_SUCH_MESSAGE) from error
        except StoreError as error:
            raise Reject(replies.INTERNAL) from error
        if found is None or login.tenant not in (None, found.tenant):
            raise Reject(answers.NO_SUCH_MESSAGE)
        return _json(200, _status(found))

    app.add_exception_handler(Reject, _refused)
    app.add_exception_handler(HTTPException, _misdirected)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _broken)
    return app


def _sent(answer: Answer | list[Answer]) -> Response:
    if isinstance(answer, Answer):
        return _json(answer.http, answer.content, answer.headers)
    results = [Result(http=one.http, **one.content.model_dump()) for one in answer]
    return _json(200, Results(results=results))


def _json(
    status: int, content: BaseModel, headers: dict[str, str] | None = None
) -> Response:
    return Response(
        content.model_dump_json(
            by_alias=True, exclude_none=isinstance(content, Answered)
        ),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Reject)
    return _sent(answers.refused(error))


async def _misdirected(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    wrong_method = error.status_code == 405
    told = answers.WRONG_METHOD if wrong_method else answers.NO_SUCH_PAGE
    response = _sent(answers.refused(Reject(told)))
    response.headers.update(error.headers or {})
    return response


async def _broken(_request: Request, _error: Exception) -> Response:
    """An error of ours; the server logs it with its trace."""
    return _sent(answers.refused(Reject(replies.INTERNAL)))


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


def _status(found: QueuedMessage) -> MessageStatus:
    return MessageStatus.model_validate(
        {
            "id": str(found.message_id),
            "from": found.author,
            "message_id": found.header_message_id,
            "size": found.size,
            "accepted_at": _moment(found.accepted_at),
            "expires_at": _moment(found.expires_at),
            "settled_at": _moment(found.settled_at),
            "recipients": [_recipient(one) for one in found.recipients],
        }
    )


def _recipient(one: QueueEntry) -> RecipientStatus:
    return RecipientStatus(
        recipient=one.recipient,
        state=one.state,
        reason=one.reason,
        explanation=one.explanation,
        due_at=_moment(one.due_at),
        attempts=one.attempts,
    )


def _moment(unix_ms: int | None) -> datetime | None:
    return None if unix_ms is None else datetime.fromtimestamp(unix_ms / 1000, UTC)
