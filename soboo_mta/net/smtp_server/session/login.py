"""AUTH: who speaks on a connection, with the brakes on guessing.

A secret crosses TLS or the loopback, nothing else; it is never logged nor quoted. An
unknown name and a wrong secret are one answer, after one delay. A certificate that TLS
verified logs in as well, where the listener asks for one. RFC 4422, 4616, 4954.
"""

import asyncio
import math
from base64 import b64encode
from dataclasses import dataclass

from soboo_mta.mail.errors import Reject
from soboo_mta.net.door import Caller
from soboo_mta.net.smtp_server.limits.logins import FailedLogins
from soboo_mta.net.smtp_server.listener import Listener
from soboo_mta.net.smtp_server.protocol.certificate import certificate_names
from soboo_mta.net.smtp_server.protocol.sasl import (
    decoded,
    name_or_secret,
    plain_parts,
)
from soboo_mta.net.smtp_server.session.connection import Service
from soboo_mta.net.smtp_server.session.reading import ReadingSession
from soboo_mta.store.unit import StoreError
from soboo_mta.submission import replies
from soboo_mta.submission.acceptance import Acceptance, Login


@dataclass(slots=True, kw_only=True)
class SubmissionService(Service):
    """What all connections of a submission server share."""

    acceptance: Acceptance
    failed_logins: FailedLogins


class LoginSession(ReadingSession):
    """A connection that knows, once it is told, who sends."""

    def __init__(
        self, service: SubmissionService, listener: Listener, caller: Caller
    ) -> None:
        self._login: Login | None = None
        self._failed_logins = 0
        self._acceptance = service.acceptance
        self._all_failed_logins = service.failed_logins
        super().__init__(service, listener, caller)

    @property
    def mechanisms(self) -> str:
        """What AUTH takes on this connection now: a secret may cross TLS, or loopback
        where set; a certificate must have been shown. "" for nothing."""
        if not (
            self._is_tls
            or (self._options.clear_login_on_loopback and self._caller.is_local)
        ):
            return ""
        return "PLAIN LOGIN EXTERNAL" if self._certificate_names() else "PLAIN LOGIN"

    def leave(self) -> None:
        self._become(None)
        super().leave()

    async def _serve(self) -> None:
        self._become(self._acceptance.trusted(self._caller.client))
        await super()._serve()

    def _become(self, login: Login | None) -> bool:
        """Send as `login` from now on; False, and nobody, when its credential has as many
        connections as it may."""
        admission, before = self._service.admission, self._login
        if before is not None:
            self.wait_for_login()
            if before.credential is not None:
                admission.log_out(before.credential)
        self._login = None
        credential = None if login is None else login.credential
        if credential is not None and not admission.log_in(credential):
            return False
        if login is not None:
            self._login, self._login_deadline = login, math.inf
        return True

    def forget_client(self) -> None:
        super().forget_client()
        self._become(self._acceptance.trusted(self._caller.client))

    # ---- AUTH

    async def smtp_AUTH(self, arg: str | None) -> None:
        if not (self._has_greeted and self._is_extended):
            self.blame(replies.SAY_EHLO)
        elif not self.mechanisms:
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
        if mechanism not in self.mechanisms.split():
            raise Reject(replies.UNKNOWN_MECHANISM)
        match mechanism:
            case "PLAIN":
                answer = await self._answer(b"", initial)
                await self._judge(*plain_parts(answer))
            case "LOGIN":
                name = name_or_secret(await self._answer(b"Username:", initial))
                secret = name_or_secret(await self._answer(b"Password:", None))
                await self._judge(name, secret)
            case _:
                name = name_or_secret(await self._answer(b"", initial))
                await self._judge_certificate(name)

    async def _answer(self, challenge: bytes, initial: str | None) -> bytes:
        """What the client said at once, or says when it is asked."""
        if initial is not None:
            return decoded(initial)
        self._out.append(b"334 " + b64encode(challenge) + b"\r\n")
        await self.flush()
        line = await self.read_line()
        if line == b"*":
            raise Reject(replies.LOGIN_CANCELLED)
        return decoded(line.decode("latin-1"))

    async def _judge(self, user_name: str, secret: str) -> None:
        failed_logins, client = self._all_failed_logins, self._client_key
        if failed_logins.is_barred(client, user_name):
            self.hang_up(replies.TOO_MANY_LOGINS)
            return
        try:
            login = await self._acceptance.login(user_name, secret, self._caller.client)
        except StoreError as error:
            raise self._unavailable(error) from error
        if login is not None:
            failed_logins.succeeded(client, user_name)
            self._welcome(login)
            return
        failed_logins.failed(client, user_name)
        await self._refuse()

    async def _judge_certificate(self, user_name: str) -> None:
        """SASL EXTERNAL (RFC 4422 appendix A): `user_name` chooses where the certificate
        is bound to several credentials; it may be empty. Nothing is guessed here."""
        try:
            login = await self._acceptance.login_by_certificate(
                self._certificate_names(), user_name, self._caller.client
            )
        except StoreError as error:
            raise self._unavailable(error) from error
        if login is not None:
            self._welcome(login)
        else:
            await self._refuse()

    def _welcome(self, login: Login) -> None:
        if self._become(login):
            self.answer(replies.LOGGED_IN)
        else:
            self.hang_up(replies.TOO_MANY_OF_CREDENTIAL)

    async def _refuse(self) -> None:
        self._failed_logins += 1
        await asyncio.sleep(self._options.failed_login_delay.total_seconds())
        self.answer(replies.BAD_LOGIN)
        if self._failed_logins >= self._options.max_failed_logins:
            self.hang_up(replies.TOO_MANY_LOGINS)

    def _unavailable(self, error: StoreError) -> Reject:
        self._acceptance.log.internal_error(stage="AUTH", error=error)
        return Reject(replies.LOGIN_UNAVAILABLE)

    def _certificate_names(self) -> tuple[str, ...]:
        if self._listener.own_tls is None or self.transport is None:
            return ()
        return certificate_names(self.transport.get_extra_info("ssl_object"))
