"""Exceptions shared by all rooms: broken input, and a refusal that carries its reply."""

from soboo_mta.mail.reply import Reply


class FormatError(ValueError):
    """Input that does not follow its format; the text is fit for a user to read."""


class Reject(Exception):
    """A refusal of one SMTP command; `reply` is what the client is to be told."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply
