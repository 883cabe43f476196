"""An e-mail backend in the manner of Django's: open, send many, close."""

import smtplib
import ssl
from collections.abc import Iterable
from email.message import EmailMessage
from types import TracebackType

from shop.settings import MailSettings


class EmailBackend:
    """Sends over one connection; with `trust` only over TLS that is verified by it."""

    def __init__(
        self, settings: MailSettings, *, trust: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._client: smtplib.SMTP | None = None

    def open(self) -> None:
        self._client = smtplib.SMTP(
            self._settings.host, self._settings.port, timeout=10
        )
        if self._trust is not None:
            self._client.starttls(context=self._trust)
        self._client.login(self._settings.user, self._settings.password)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def send_messages(self, messages: Iterable[EmailMessage]) -> int:
        """Send all; return how many were taken."""
        assert self._client is not None
        taken = 0
        for message in messages:
            self._client.send_message(message)
            taken += 1
        return taken

    def __enter__(self) -> "EmailBackend":
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
