"""From a request to acceptance: its body read as one message or several, each submitted.

What is decided about a message is decided in `submission/acceptance`, for SMTP and for
this door alike; here its envelope and its octets come about. A message of a batch is kept
or refused by itself.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request

from soboo_mta.mail.address import (
    Mailbox,
    ReversePath,
    parse_mailbox,
    parse_reverse_path,
)
from soboo_mta.mail.errors import FormatError, Reject
from soboo_mta.mail.ids import NO_STREAM, Stream
from soboo_mta.mail.reply import Reply, reply
from soboo_mta.mail.spooled import OnceKey
from soboo_mta.net.smtp_server import Limits
from soboo_mta.net.smtp_server.limits.admission import client_key
from soboo_mta.submission import policy, replies
from soboo_mta.submission.acceptance import Acceptance, Envelope, Login
from soboo_mta.submission.framing import check_framing
from soboo_mta.submission.options import InjectOptions, ListenerOptions
from soboo_mta.web.body import body_of
from soboo_mta.web.inject import answers
from soboo_mta.web.inject.answers import Answer, FieldError
from soboo_mta.web.inject.compose import (
    composed,
    mailbox,
    raw_octets,
    with_crlf,
)
from soboo_mta.web.inject.login import Doorman
from soboo_mta.web.inject.model import JsonMessage, is_key, message_of

_AT_ONCE = 20  # messages of one batch: their commits go in groups
_MAX_COMMAS = 2_000_000  # values take memory and time, whatever becomes of them
_ITEM_SEPARATOR = " "  # stands in no client's key


@dataclass(frozen=True, slots=True, kw_only=True)
class _Submitted:
    """One message on its way to acceptance."""

    reverse_path: ReversePath
    recipients: tuple[Mailbox, ...]
    octets: bytes
    key: str | None
    digest: bytes
    stream: Stream = NO_STREAM  # as the JSON says; else as its header does


@dataclass(frozen=True, slots=True)
class _Sender:
    """Who sends a request, by which protocol, and how large its body is."""

    login: Login
    protocol: str
    octets: int


class Submissions:
    """Takes requests with mail. One a process."""

    def __init__(
        self,
        *,
        acceptance: Acceptance,
        limits: Limits,
        listener: ListenerOptions,
        options: InjectOptions,
    ) -> None:
        self.doorman = Doorman(
            acceptance=acceptance,
            options=listener,
            failed_logins=limits.failed_logins,
        )
        self._acceptance = acceptance
        self._limits = limits
        self._listener = listener
        self._options = options
        self._large = asyncio.Semaphore(1)  # parsed at a time: it takes memory

    async def take(self, request: Request) -> Answer | list[Answer]:
        """Return what became of the request's message, or of each of its batch.

        Raises Reject where the request as a whole is refused.
        """
        login = await login_of(request, self.doorman)
        try:
            with self._one_more_of(login):
                return await self._take(request, login)
        except Reject as refusal:
            self._refused(refusal, login)
            raise

    @contextmanager
    def _one_more_of(self, login: Login) -> Iterator[None]:
        """A request counts as a connection of its credential while it lasts."""
        credential, admission = login.credential, self._limits.admission
        if credential is None or not admission.log_in(credential):
            raise Reject(replies.TOO_MANY_OF_CREDENTIAL)
        try:
            yield
        finally:
            admission.log_out(credential)

    async def _take(self, request: Request, login: Login) -> Answer | list[Answer]:
        key = request.headers.get("idempotency-key")
        if key is not None and not is_key(key):
            raise Reject(answers.BAD_KEY)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        encoding = request.headers.get("content-encoding", "identity")
        is_raw = kind == "message/rfc822"
        if not (is_raw or kind == "application/json") or encoding != "identity":
            raise Reject(answers.WRONG_TYPE)
        limit = self._options.max_body_octets
        if is_raw:
            limit = self._acceptance.options.max_message_octets
        async with body_of(
            request,
            limit=limit,
            options=self._listener,
            admission=self._limits.admission,
        ) as body:
            sender = _Sender(login, request.scope["scheme"].upper(), len(body))
            if is_raw:
                return await self._one(sender, lambda: _raw(request, body, key))
            return await self._json(sender, body, key)

    async def _json(
        self, sender: _Sender, body: bytes, key: str | None
    ) -> Answer | list[Answer]:
        parsed = await self._aside(len(body), lambda: _parsed(body))
        if not (isinstance(parsed, dict) and "messages" in parsed):
            return await self._one(sender, lambda: _of_json(parsed, key))
        items = _items(parsed, self._options.max_batch)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def submitted(index: int, item: object) -> Answer:
            own = None if key is None else f"{key}{_ITEM_SEPARATOR}{index}"
            async with gate:
                return await self._one(sender, lambda: _of_json(item, own))

        return await asyncio.gather(
            *(submitted(index, item) for index, item in enumerate(items))
        )

    async def _one(self, sender: _Sender, make: Callable[[], _Submitted]) -> Answer:
        """Bring one message to acceptance; whatever happens is an answer."""
        try:
            one = await self._aside(sender.octets, make)
            return await self._submit(sender, one)
        except Reject as refusal:
            self._refused(refusal, sender.login)
            return answers.refused(refusal)
        except Exception as error:  # noqa: BLE001 - as in SMTP: 451, never lost
            self._acceptance.log.internal_error(stage="http", error=error)
            return answers.refused(Reject(replies.INTERNAL))

    async def _submit(self, sender: _Sender, one: _Submitted) -> Answer:
        await self._acceptance.mail(sender.login, len(one.octets))
        if not one.recipients:
            raise Reject(_NO_RECIPIENT)
        if len(one.recipients) > self._acceptance.options.max_recipients:
            raise Reject(replies.TOO_MANY_RECIPIENTS)
        self._check_rates(sender.login, len(one.recipients))
        refused = await self._suppressed(sender.login, one)
        left = tuple(to for to in one.recipients if to not in refused)
        if not left:
            raise Reject(refused[one.recipients[0]])
        envelope = Envelope(
            reverse_path=one.reverse_path,
            recipients=left,
            smtputf8=True,  # there is no extension to agree on
            protocol=sender.protocol,
            stream=one.stream,
        )
        once = None
        if one.key is not None:
            scope = sender.login.tenant or ""
            once = OnceKey(scope=scope, key=one.key, digest=one.digest)
        kept = await self._acceptance.data(
            sender.login, envelope, one.octets, once=once
        )
        return answers.accepted(kept, refused)

    async def _suppressed(self, login: Login, one: _Submitted) -> dict[Mailbox, Reply]:
        """The recipients that the message does not go to, as SMTP says it at RCPT; unlike
        there the stream is known."""
        if not await self._acceptance.refuses_suppressed(login):
            return {}
        stream, refused = one.stream or _stream_of(one.octets), dict[Mailbox, Reply]()
        for recipient in one.recipients:
            try:
                await self._acceptance.recipient(login, recipient, stream)
            except Reject as refusal:
                if refusal.reply.is_transient:
                    raise
                refused[recipient] = refusal.reply
        return refused

    def _check_rates(self, login: Login, recipients: int) -> None:
        """Count them as SMTP's; what was counted before a limit was reached stays so."""
        rates, client = self._limits.rates, client_key(login.client)
        if not rates.may_send(client, login.credential):
            raise Reject(replies.SENDING_TOO_OFTEN)
        for _ in range(recipients):
            if not rates.may_address(client, login.credential):
                raise Reject(replies.RECIPIENTS_TOO_OFTEN)

    def _refused(self, refusal: Reject, login: Login) -> None:
        self._acceptance.log.refused(
            refusal.reply, client=str(login.client), tenant=login.tenant
        )

    async def _aside(self, octets: int, work: Callable[[], Any]) -> Any:
        """Do what takes long for large bodies in a thread, one at a time."""
        if octets <= self._acceptance.options.thread_over_octets:
            return work()
        async with self._large:
            return await asyncio.to_thread(work)


async def login_of(request: Request, doorman: Doorman) -> Login:
    """Return who sends the request; raise Reject."""
    assert request.client is not None  # a TCP connection has one
    return await doorman.login(
        request.headers.get("authorization"),
        client=ip_address(request.client.host.partition("%")[0]),
        is_tls=request.scope["scheme"] == "https",
    )


# ---- from what was sent to an envelope and octets


def _parsed(body: bytes) -> Any:
    if body.count(b",") > _MAX_COMMAS:
        raise Reject(reply(501, "5.5.2", "The body has too many values: send less"))
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Reject(reply(501, "5.5.2", f"The body is not JSON: {error}")) from error


def _items(parsed: dict[str, Any], most: int) -> Sequence[object]:
    items = parsed["messages"]
    if len(parsed) > 1:
        raise FieldError("messages", "stands alone: each message has its own keys")
    if not isinstance(items, list) or not items:
        raise FieldError("messages", "is not a list of one message or more")
    if len(items) > most:
        raise FieldError("messages", f"has over {most} messages: send several requests")
    return items


def _of_json(item: object, key: str | None) -> _Submitted:
    message = message_of(item)
    envelope = message.envelope
    is_whole = message.sender is None
    octets = raw_octets(message) if is_whole else composed(message)
    if envelope.sender is not None:
        reverse_path = _reverse_path("envelope.from", envelope.sender)
    elif message.sender is not None:
        reverse_path = ReversePath(mailbox("from", message.sender))
    else:
        reverse_path = _author_of(octets)
    return _Submitted(
        reverse_path=reverse_path,
        recipients=_recipients(message),
        octets=octets,
        stream=Stream(message.stream),
        key=message.idempotency_key or key,
        digest=_digest(item),
    )


def _raw(request: Request, body: bytes, key: str | None) -> _Submitted:
    """A body of message/rfc822: its envelope is in the query or in header fields."""
    query, octets = request.query_params, with_crlf(body)
    if unknown := set(query) - {"from", "to"}:
        raise FieldError(sorted(unknown)[0], "the query has from and to alone")
    sender = query.get("from")
    if sender is None and "envelope-from" in request.headers:
        sender = _utf8(request.headers["envelope-from"])
    to = query.getlist("to") or [
        one.strip(" ")
        for field in request.headers.getlist("envelope-to")
        for one in _utf8(field).split(",")
    ]
    recipients = tuple(dict.fromkeys(_forward_path("to", one) for one in to))
    path = _author_of(octets) if sender is None else _reverse_path("from", sender)
    told = "\n".join((str(path), *map(str, recipients), "")).encode()
    return _Submitted(
        reverse_path=path,
        recipients=recipients,
        octets=octets,
        key=key,
        digest=hashlib.sha256(told + body).digest(),
    )


def _utf8(field: str) -> str:
    """A field's value, which the framework read as Latin-1."""
    try:
        return field.encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise FieldError("envelope", "is not UTF-8") from error


def _recipients(message: JsonMessage) -> tuple[Mailbox, ...]:
    if message.envelope.to:
        named = (_forward_path("envelope.to", one) for one in message.envelope.to)
        return tuple(dict.fromkeys(named))
    found = (
        mailbox(key, one)
        for key in ("to", "cc", "bcc")
        for one in getattr(message, key)
    )
    return tuple(dict.fromkeys(found))


def _author_of(octets: bytes) -> ReversePath:
    """The From address stands for the reverse-path where none is named."""
    header = policy.read_header(check_framing(octets, mend_line_ends=True))
    return ReversePath(policy.read_author(header, smtputf8=True))


def _stream_of(octets: bytes) -> Stream:
    header = policy.read_header(check_framing(octets, mend_line_ends=True))
    return policy.read_stream(header)


def _reverse_path(key: str, text: str) -> ReversePath:
    try:
        return parse_reverse_path(text)
    except FormatError as error:
        raise FieldError(key, str(error)) from error


def _forward_path(key: str, text: str) -> Mailbox:
    try:
        return parse_mailbox(text)
    except FormatError as error:
        raise FieldError(key, str(error)) from error


def _digest(item: object) -> bytes:
    """Of what was meant, not of its spaces or the order of its keys."""
    if isinstance(item, dict):
        item = {name: item[name] for name in item if name != "idempotency_key"}
    text = json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()


_NO_RECIPIENT = reply(503, "5.5.1", "No recipient: name one in to, cc or bcc")
