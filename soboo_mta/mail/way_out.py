"""The customer's own way out: its SMTP relay, or an account of a user of its.

Frozen values of modes `relay` and `mailbox`, checked when they are made. Submission servers
speak TLS always, by STARTTLS or from the first octet (RFC 8314 §3); a `Secret` never shows.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from soboo_mta.mail.address import Mailbox, parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError

IMPLICIT_PORT: Final = 465  # RFC 8314 §3.3
SUBMISSION_PORTS: Final = (25, IMPLICIT_PORT, 587, 2525)
"""Where submission servers listen; anything else may be another kind of server, and a
customer's settings must not make us speak to it."""
_MAX_PORT: Final = 65_535
_MAX_NAME: Final = 320  # characters of a user name: a mailbox at its longest
_MAX_SECRET: Final = 8_192  # octets; tokens of some providers have a few thousand


class RelayTls(StrEnum):
    """How a submission server speaks TLS; its certificate is verified either way."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class MailboxProvider(StrEnum):
    """Who runs the mailbox; OTHER names its submission server itself."""

    GOOGLE = "google"
    MICROSOFT = "microsoft"
    OTHER = "other"


class MailboxAuth(StrEnum):
    PASSWORD = "password"  # noqa: S105 - a kind of login, no password
    OAUTH = "oauth"  # XOAUTH2; the secret is a refresh token


class Secret:
    """A password or token; shows as stars, so that no log or trace has it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Raise FormatError for what no login can carry: nothing, NUL, line ends."""
        if not text:
            raise FormatError("the secret is empty")
        if len(text.encode(errors="surrogatepass")) > _MAX_SECRET:
            raise FormatError(f"the secret is over {_MAX_SECRET} octets")
        if any(sign in text for sign in "\0\r\n"):
            raise FormatError(
                "the secret has a line end or NUL in it: one line holds it"
            )
        self._text = text

    def reveal(self) -> str:
        """Return the secret: for the login and for sealing alone."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(********)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionServer:
    """Where mail is submitted: a name, for its certificate is verified against it."""

    host: Domain
    port: int
    tls: RelayTls

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRelay:
    """The customer's SMTP relay. `user` None: it knows us by our address."""

    server: SubmissionServer
    user: str | None = None

    def __post_init__(self) -> None:
        if self.user is not None:
            _check_name(self.user, "the user name")

    @property
    def login(self) -> str | None:
        return self.user

    @property
    def needs_secret(self) -> bool:
        return self.user is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerMailbox:
    """A user's account that we submit as. `oauth_client` is the id of the application
    that the user gave consent to."""

    mailbox: Mailbox
    provider: MailboxProvider
    auth: MailboxAuth
    server: SubmissionServer
    oauth_client: str | None = None

    def __post_init__(self) -> None:
        """Raise FormatError where what was given does not go together."""
        if self.auth is MailboxAuth.OAUTH:
            if self.provider is MailboxProvider.OTHER:
                raise FormatError("OAuth is for the providers google and microsoft")
            if self.oauth_client is None:
                raise FormatError("OAuth needs oauth_client, the id of the application")
            _check_name(self.oauth_client, "the oauth client")
        elif self.oauth_client is not None:
            raise FormatError("oauth_client is for OAuth, not for a password")
        if not self.mailbox.is_ascii:
            raise FormatError(f"{self.mailbox} is no user name that a login takes")

    @property
    def login(self) -> str | None:
        return str(self.mailbox)

    @property
    def needs_secret(self) -> bool:
        return True


WayOut = CustomerRelay | CustomerMailbox

PROVIDER_SERVERS: Final = {
    MailboxProvider.GOOGLE: SubmissionServer(
        host=Domain("smtp.gmail.com"), port=IMPLICIT_PORT, tls=RelayTls.IMPLICIT
    ),
    # No implicit TLS there.
    MailboxProvider.MICROSOFT: SubmissionServer(
        host=Domain("smtp.office365.com"), port=587, tls=RelayTls.STARTTLS
    ),
}


def parse_server(text: str, tls: RelayTls | None = None) -> SubmissionServer:
    """Return the server written as `host:port`; `tls` None: as its port has it.

    Raises FormatError. An address is refused: no certificate is for it.
    """
    host, colon, digits = text.strip().rpartition(":")
    if not colon or not digits.isdecimal() or not digits.isascii():
        raise FormatError(f"{text[:80]!r} has no port: write smtp.customer.com:587")
    port = int(digits) if len(digits) <= len(str(_MAX_PORT)) else 0
    if not 0 < port <= _MAX_PORT:
        raise FormatError(f"{digits[:10]} is not a port: 1 to {_MAX_PORT}")
    if tls is None:
        tls = RelayTls.IMPLICIT if port == IMPLICIT_PORT else RelayTls.STARTTLS
    return SubmissionServer(host=Domain.parse(host), port=port, tls=tls)


def _check_name(text: str, what: str) -> None:
    if not text or len(text) > _MAX_NAME or not text.isprintable():
        raise FormatError(f"{what} is 1 to {_MAX_NAME} printable characters")


# ---- from what was written


@dataclass(frozen=True, slots=True, kw_only=True)
class WayParts:
    """What was written of a way out, None for what was not; `user` "": no login."""

    host: str | None = None
    tls: RelayTls | None = None
    user: str | None = None
    mailbox: str | None = None
    provider: MailboxProvider | None = None
    auth: MailboxAuth | None = None
    oauth_client: str | None = None

    def relay(self, before: WayOut | None = None) -> CustomerRelay:
        """Return the relay, with what was not written as `before`; raise FormatError."""
        known = before if isinstance(before, CustomerRelay) else None
        user = known.user if self.user is None and known else self.user
        return CustomerRelay(
            server=self._server(known.server if known else None), user=user or None
        )

    def account(self, before: WayOut | None = None) -> CustomerMailbox:
        """Return the mailbox, with what was not written as `before`; raise FormatError."""
        known = before if isinstance(before, CustomerMailbox) else None
        mailbox = parse_mailbox(self.mailbox) if self.mailbox else None
        provider, auth = self.provider, self.auth
        if known is not None:
            mailbox, provider = mailbox or known.mailbox, provider or known.provider
            auth = auth or known.auth
        if mailbox is None:
            raise FormatError("a mailbox has an address: write news@customer.com")
        if provider is None:
            names = ", ".join(MailboxProvider)
            raise FormatError(
                f"say whose the mailbox is: the provider is one of {names}"
            )
        auth = auth or MailboxAuth.PASSWORD
        client = self.oauth_client
        if client is None and known is not None and auth is MailboxAuth.OAUTH:
            client = known.oauth_client
        return CustomerMailbox(
            mailbox=mailbox,
            provider=provider,
            auth=auth,
            server=self._account_server(provider, known),
            oauth_client=client,
        )

    def _account_server(
        self, provider: MailboxProvider, known: CustomerMailbox | None
    ) -> SubmissionServer:
        server = PROVIDER_SERVERS.get(provider)
        if server is None:
            is_same = known is not None and known.provider is provider
            return self._server(known.server if known and is_same else None)
        if self.host is not None or self.tls is not None:
            raise FormatError(
                f"{provider} has its own server, {server}: leave host out"
            )
        return server

    def _server(self, known: SubmissionServer | None) -> SubmissionServer:
        if self.host is not None:
            return parse_server(self.host, self.tls)
        if known is None:
            raise FormatError("say the server's host and port: smtp.customer.com:587")
        return known if self.tls is None else replace(known, tls=self.tls)
