"""The customer's own relay or mailbox as it is typed, for `domain add` and `domain set`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from soboo_mta.cli.context import CliStore
from soboo_mta.identity.state import Mode
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.way_out import (
    SUBMISSION_PORTS,
    CustomerMailbox,
    CustomerRelay,
    MailboxAuth,
    MailboxProvider,
    RelayTls,
    Secret,
    WayOut,
    WayParts,
)
from soboo_mta.tenancy.declared.secret_files import secret_in_file, secret_in_pipe

RelayHost = Annotated[
    str | None,
    typer.Option(help="Relay, or the server of another provider's mailbox: HOST:PORT."),
]
RelayTlsOption = Annotated[
    RelayTls | None,
    typer.Option("--relay-tls", help="If not said, as its port has it."),
]
RelayUser = Annotated[
    str | None, typer.Option(help='Relay: user of the login; "" for none.')
]
RelayPasswordFile = Annotated[
    Path | None, typer.Option(help="Relay: holds the password; - is standard input.")
]
MailboxOption = Annotated[
    str | None, typer.Option("--mailbox", help="Mailbox: the user's address.")
]
ProviderOption = Annotated[
    MailboxProvider | None, typer.Option("--provider", help="Mailbox: whose it is.")
]
AuthOption = Annotated[
    MailboxAuth | None,
    typer.Option("--auth", help="Mailbox: how it logs in; password if not said."),
]
OAuthClient = Annotated[
    str | None, typer.Option("--oauth-client", help="Mailbox, OAuth: application id.")
]
MailboxSecretFile = Annotated[
    Path | None,
    typer.Option(help="Mailbox: holds password or refresh token; - is standard input."),
]
_PIPE = Path("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedWay:
    """What was typed of a way out; None: nothing."""

    parts: WayParts
    relay_password_file: Path | None
    mailbox_secret_file: Path | None

    @property
    def is_given(self) -> bool:
        return bool(self._for_relay or self._for_mailbox or self._for_servers)

    def secret(self) -> Secret | None:
        """Read the secret, where a file for it was typed; raise FormatError."""
        path = self.relay_password_file or self.mailbox_secret_file
        if path is None:
            return None
        if path == _PIPE:
            return secret_in_pipe(sys.stdin.buffer.read())
        return secret_in_file(path)

    def way(self, mode: Mode, before: WayOut | None = None) -> WayOut | None:
        """Return the way out that results, with what was not typed as `before`.

        Raises FormatError for what lacks, and for an option of another mode.
        """
        match mode:
            case Mode.RELAY:
                _refuse(self._for_mailbox, Mode.MAILBOX)
                return self.parts.relay(before)
            case Mode.MAILBOX:
                _refuse(self._for_relay, Mode.RELAY)
                return self.parts.account(before)
            case _:
                _refuse((*self._for_relay, *self._for_servers), Mode.RELAY)
                _refuse(self._for_mailbox, Mode.MAILBOX)
                return None

    @property
    def _for_servers(self) -> tuple[str, ...]:
        parts = self.parts
        return _typed({"--relay-host": parts.host, "--relay-tls": parts.tls})

    @property
    def _for_relay(self) -> tuple[str, ...]:
        return _typed(
            {
                "--relay-user": self.parts.user,
                "--relay-password-file": self.relay_password_file,
            }
        )

    @property
    def _for_mailbox(self) -> tuple[str, ...]:
        parts = self.parts
        return _typed(
            {
                "--mailbox": parts.mailbox,
                "--provider": parts.provider,
                "--auth": parts.auth,
                "--oauth-client": parts.oauth_client,
                "--mailbox-secret-file": self.mailbox_secret_file,
            }
        )


def _typed(options: dict[str, object]) -> tuple[str, ...]:
    return tuple(name for name, value in options.items() if value is not None)


def _refuse(options: tuple[str, ...], mode: Mode) -> None:
    if options:
        raise FormatError(f"{options[0]} is for mode {mode} alone")


def refuse_strange_port(store: CliStore, way: WayOut | None) -> None:
    """Refuse a server that is no submission server by its port; a lab may have others."""
    if way is None or store.settings.delivery.private_destinations:
        return
    if way.server.port not in SUBMISSION_PORTS:
        ports = ", ".join(map(str, SUBMISSION_PORTS))
        raise FormatError(f"{way.server}: a submission server's port is one of {ports}")


def way_values(way: WayOut | None) -> dict[str, object] | None:
    """Return a way out as JSON shows it; a secret is never in it."""
    match way:
        case None:
            return None
        case CustomerRelay(server=server, user=user):
            kind: dict[str, object] = {"user": user}
        case CustomerMailbox() as one:
            server = one.server
            kind = {
                "mailbox": str(one.mailbox),
                "provider": one.provider,
                "auth": one.auth,
                "oauth_client": one.oauth_client,
            }
    return {"host": server.host, "port": server.port, "tls": server.tls} | kind


def remarks(way: WayOut) -> tuple[str, ...]:
    """What a way out asks of the customer besides its records, and what it costs."""
    if isinstance(way, CustomerRelay):
        return (
            f"{way.server} has to sign mail with d= of the domain, or hold SPF for the"
            " reverse-path that it leaves with; else the three recommended selectors do it",
            "delivery depends on the customer's system, and bounces come to us only where"
            " it keeps our reverse-path",
        )
    return (_SIGNING[way.provider], _LIMITS)


_SIGNING = {
    MailboxProvider.GOOGLE: (
        "Google signs with d= of the domain only once that is switched on in its admin"
        " console (google._domainkey), and SPF needs include:_spf.google.com"
    ),
    MailboxProvider.MICROSOFT: (
        "Microsoft signs with d= of the domain only once selector1._domainkey and"
        " selector2._domainkey lead there, and SPF needs"
        " include:spf.protection.outlook.com"
    ),
    MailboxProvider.OTHER: (
        "the mailbox's provider has to sign with d= of the domain, or SPF of the domain"
        " has to name it"
    ),
}
_LIMITS = (
    "the mailbox's own limits hold, bounces arrive in it and not here, and its provider"
    " puts it in place of our reverse-path"
)
