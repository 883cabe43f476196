"""What goes wrong in any room: broken input, a refusal with its reply, a failed login."""

from enum import StrEnum

from soboo_mta.mail.reply import Reply


class FormatError(ValueError):
    """Input that does not follow its format; the text is fit for a user to read."""


class Reject(Exception):
    """A refusal of one SMTP command; `reply` is what the client is to be told."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class NoLogin(StrEnum):
    """Why a login failed: for the operator's log, never for the client."""

    UNKNOWN_NAME = "unknown name"
    WRONG_SECRET = "wrong secret"  # noqa: S105 - says that one was wrong
    REVOKED = "revoked"
    NETWORK = "network"
