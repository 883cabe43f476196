"""The octets of BDAT commands, put together (RFC 3030 §2). Pure."""

import re
from io import BytesIO

from soboo_mta.mail.errors import Reject
from soboo_mta.submission import replies

_ARGUMENT = re.compile(r"(\d{1,20})(?: +(LAST))?", re.IGNORECASE | re.ASCII)


def parse_chunk(argument: str) -> tuple[int, bool]:
    """Return (octets that follow, whether they are the last), or raise Reject: then
    nobody knows how many octets follow."""
    found = _ARGUMENT.fullmatch(argument)
    if found is None:
        raise Reject(replies.CHUNK_SYNTAX)
    return int(found[1]), found[2] is not None


class Chunks:
    """One message of at most `limit` octets. What is over it is counted and thrown away,
    so that the connection stays in step."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._octets = BytesIO()  # gives its buffer away without a copy
        self._refusal: Reject | None = None
        self.received = 0

    @property
    def held(self) -> int:
        """How many octets are kept in memory."""
        return 0 if self._refusal else self.received

    @property
    def refusal(self) -> Reject | None:
        """Why this message can't be accepted any more."""
        return self._refusal

    def give_up(self, refusal: Reject) -> None:
        """Throw away what is held and what still comes."""
        self._refusal = self._refusal or refusal
        self._octets = BytesIO()

    def expect(self, octets: int) -> None:
        """Give up at once where so many more are too many."""
        if self.received + octets > self._limit:
            self.give_up(Reject(replies.too_large(self._limit)))

    def feed(self, octets: bytes) -> None:
        """Take what came of those expected."""
        self.received += len(octets)
        if self._refusal is None:
            self._octets.write(octets)

    def content(self) -> bytes:
        """The message; raises Reject where it was given up. Call it once."""
        if self._refusal is not None:
            raise self._refusal
        return self._octets.getvalue()
