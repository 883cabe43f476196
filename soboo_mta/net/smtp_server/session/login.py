"""STARTTLS and AUTH: who speaks on a connection, with the brakes on guessing.

A secret crosses TLS or the loopback, nothing else; it is never logged nor quoted. An
unknown name and a wrong secret are one answer, after one delay. RFC 3207, 4616, 4954.
"""

import asyncio
import binascii
from base64 import b64decode, b64encode

from soboo_mta.mail.errors import Reject
from soboo_mta.net.smtp_server.session import Service, Session
from soboo_mta.ports import IpAddress
from soboo_mta.store.unit import StoreError
from soboo_mta.submission import replies
from soboo_mta.submission.acceptance import Login

_MAX_NAME_OCTETS = 255  # RFC 4616 §2 allows as much


class LoginSession(Session):
    """A connection that knows, once it is told, who sends."""

    def __init__(
        self, service: Service, *, client: IpAddress, implicit_tls: bool
    ) -> None:
        self._login: Login | None = None
        self._failed_logins = 0
        self._has_greeted = False
        self._is_extended = False
        super().__init__(service, client=client, implicit_tls=implicit_tls)

    @property
    def may_send(self) -> bool:
        return self._login is not None

    @property
    def may_log_in(self) -> bool:
        """Whether a secret may cross this connection: TLS, or loopback where set."""
        return self._is_tls or (
            self._options.clear_login_on_loopback and self._client.is_loopback
        )

    async def _serve(self) -> None:
        self._login = self._service.acceptance.trusted(self._client)
        await super()._serve()

    async def smtp_STARTTLS(self, arg: str) -> None:
        if arg:
            self.blame(replies.NO_ARGUMENT)
        elif self._is_tls:
            self.blame(replies.TLS_ACTIVE)
        elif self._service.tls is None:
            self.blame(replies.NO_TLS)
        else:
            self.answer(replies.START_TLS)
            await self.flush()
            if not await self.start_tls():
                raise ConnectionResetError
            self._forget()

    def _forget(self) -> None:
        """What was said in clear counts no more (RFC 3207 §4.2)."""
        self.forget_transaction()
        self._has_greeted = False
        self._login = self._service.acceptance.trusted(self._client)

    async def smtp_AUTH(self, arg: str | None) -> None:
        if not (self._has_greeted and self._is_extended):
            self.blame(replies.SAY_EHLO)
        elif not self.may_log_in:
            self.blame(replies.LOGIN_NEEDS_TLS)
        elif self._login is not None and self._login.credential is not None:
            self.blame(replies.LOGGED_IN_ALREADY)
        elif self.is_in_transaction:
            self.blame(replies.LOGIN_IN_TRANSACTION)
        else:
            await self._log_in((arg or "").split(" "))

    async def _log_in(self, words: list[str]) -> None:
        mechanism, initial = words[0].upper(), words[1] if len(words) > 1 else None
        if not mechanism or len(words) > 2:
            raise Reject(replies.LOGIN_SYNTAX)
        if mechanism == "PLAIN":
            answer = await self._ask(b"") if initial is None else _decoded(initial)
            user_name, secret = _plain_parts(answer)
        elif mechanism == "LOGIN":
            name = (
                await self._ask(b"Username:") if initial is None else _decoded(initial)
            )
            user_name = _text(name)
            secret = _text(await self._ask(b"Password:"))
        else:
            raise Reject(replies.UNKNOWN_MECHANISM)
        await self._judge(user_name, secret)

    async def _ask(self, challenge: bytes) -> bytes:
        self._out.append(b"334 " + b64encode(challenge) + b"\r\n")
        await self.flush()
        line = await self.read_line()
        if line == b"*":
            raise Reject(replies.LOGIN_CANCELLED)
        return _decoded(line.decode("latin-1"))

    async def _judge(self, user_name: str, secret: str) -> None:
        failed_logins, client = self._service.failed_logins, self._client_key
        if failed_logins.is_barred(client, user_name):
            self.hang_up(replies.TOO_MANY_LOGINS)
            return
        try:
            login = await self._service.acceptance.login(
                user_name, secret, self._client
            )
        except StoreError as error:
            self._service.acceptance.log.internal_error(stage="AUTH", error=error)
            raise Reject(replies.LOGIN_UNAVAILABLE) from error
        if login is not None:
            failed_logins.succeeded(client, user_name)
            self._login = login
            self.answer(replies.LOGGED_IN)
            return
        failed_logins.failed(client, user_name)
        self._failed_logins += 1
        await asyncio.sleep(self._options.failed_login_delay.total_seconds())
        self.answer(replies.BAD_LOGIN)
        if self._failed_logins >= self._options.max_failed_logins:
            self.hang_up(replies.TOO_MANY_LOGINS)


def _decoded(text: str) -> bytes:
    """Base64, or `=` for nothing (RFC 4954 §4)."""
    if text == "=":
        return b""
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Reject(replies.BAD_BASE64) from error


def _plain_parts(answer: bytes) -> tuple[str, str]:
    """authzid NUL authcid NUL passwd (RFC 4616 §2); acting for another is not known."""
    parts = answer.split(b"\0")
    if len(parts) != 3:
        raise Reject(replies.BAD_BASE64)
    acting_for, user_name, secret = map(_text, parts)
    if acting_for not in ("", user_name):
        raise Reject(replies.BAD_LOGIN)
    return user_name, secret


def _text(octets: bytes) -> str:
    if b"\0" in octets or len(octets) > _MAX_NAME_OCTETS:
        raise Reject(replies.BAD_BASE64)
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise Reject(replies.BAD_BASE64) from error
