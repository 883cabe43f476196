"""A customer's relay or mailbox as `tenants.toml` has it; its secret stands elsewhere."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.way_out import (
    CustomerMailbox,
    CustomerRelay,
    MailboxAuth,
    MailboxProvider,
    RelayTls,
    Secret,
    WayParts,
)
from soboo_mta.tenancy.declared.secret_files import secret_in_file, secret_in_variable


class _Account(BaseModel):
    """A server and where the secret for it is: a file (relative to `tenants.toml`) or a
    variable of the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tls: RelayTls | None = None
    secret_file: Path | None = None
    secret_env: str | None = None

    @field_validator("secret_file")
    @classmethod
    def _beside_the_file(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is None or info.context is None:
            return path
        return Path(info.context["directory"]) / path

    def secret(self) -> Secret | None:
        """Read the secret; None where the file names none. Raises FormatError."""
        if self.secret_file is not None and self.secret_env is not None:
            raise FormatError("secret_file and secret_env are two places: keep one")
        if self.secret_file is not None:
            return secret_in_file(self.secret_file)
        return None if self.secret_env is None else secret_in_variable(self.secret_env)


class RelayEntry(_Account):
    """`[tenant.domain.relay]`, of a domain in mode relay."""

    host: str
    user: str | None = None

    @property
    def way(self) -> CustomerRelay:
        """Raises FormatError."""
        return WayParts(host=self.host, tls=self.tls, user=self.user).relay()


class MailboxEntry(_Account):
    """`[tenant.domain.mailbox]`, of a domain in mode mailbox."""

    address: str
    provider: MailboxProvider
    auth: MailboxAuth = MailboxAuth.PASSWORD
    oauth_client: str | None = None
    host: str | None = None

    @property
    def way(self) -> CustomerMailbox:
        """Raises FormatError."""
        return WayParts(
            host=self.host,
            tls=self.tls,
            mailbox=self.address,
            provider=self.provider,
            auth=self.auth,
            oauth_client=self.oauth_client,
        ).account()
