"""Who sends an HTTP request: the credentials, networks and brakes of the SMTP listener.

A credential is always needed here, trusted network or not: any page that a browser in
such a network shows could post. RFC 7617, RFC 6750.
"""

import asyncio
import binascii
from base64 import b64decode

from soboo_mta.mail.errors import Reject
from soboo_mta.net.smtp_server.limits.admission import client_key
from soboo_mta.net.smtp_server.limits.logins import FailedLogins
from soboo_mta.ports import IpAddress
from soboo_mta.store.unit import StoreError
from soboo_mta.submission import replies
from soboo_mta.submission.acceptance import Acceptance, Login
from soboo_mta.submission.options import ListenerOptions
from soboo_mta.web.inject import answers

_SCHEMES = ("basic", "bearer")
_MAX_OCTETS = 1_024  # of the decoded pair


class Doorman:
    """Lets in who has a credential. `failed_logins` is shared with the SMTP listener."""

    def __init__(
        self,
        *,
        acceptance: Acceptance,
        options: ListenerOptions,
        failed_logins: FailedLogins,
    ) -> None:
        self._acceptance = acceptance
        self._options = options
        self._failed_logins = failed_logins

    async def login(
        self, authorization: str | None, *, client: IpAddress, is_tls: bool
    ) -> Login:
        """Return who `authorization` (the field's value) names; raise Reject."""
        may_be_clear = self._options.clear_login_on_loopback and client.is_loopback
        if not (is_tls or may_be_clear):
            raise Reject(answers.SEND_OVER_TLS)
        if authorization is None:
            raise Reject(answers.LOGIN_FIRST)
        user_name, secret = _pair(authorization)
        key = client_key(client)
        if self._failed_logins.is_barred(key, user_name):
            raise Reject(replies.TOO_MANY_LOGINS)
        try:
            login = await self._acceptance.login(user_name, secret, client)
        except StoreError as error:
            self._acceptance.log.internal_error(stage="login", error=error)
            raise Reject(replies.LOGIN_UNAVAILABLE) from error
        if login is None:
            self._failed_logins.failed(key, user_name)
            await asyncio.sleep(self._options.failed_login_delay.total_seconds())
            raise Reject(replies.BAD_LOGIN)
        self._failed_logins.succeeded(key, user_name)
        return login


def _pair(authorization: str) -> tuple[str, str]:
    """User name and secret: base64 of `name:secret`, after Basic or after Bearer."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() not in _SCHEMES:
        raise Reject(answers.LOGIN_FIRST)
    try:
        text = b64decode(token.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:  # UnicodeDecodeError is one
        raise Reject(replies.BAD_LOGIN) from error
    user_name, colon, secret = text.partition(":")
    if not colon or "\0" in text or len(text) > _MAX_OCTETS:
        raise Reject(replies.BAD_LOGIN)
    return user_name, secret
