"""The octets between DATA and the final dot, from chunks of any size (RFC 5321 §4.5.2).

Only CRLF, dot, CRLF ends a message: what other servers read as an end stays content, for
the framing check to judge. Holds at most the limit; what is over it is counted and thrown
away, so that the connection stays in step. Pure.
"""

from soboo_mta.mail.errors import Reject
from soboo_mta.submission import replies

_END = b"\r\n.\r\n"


class Body:
    """Collects one message of at most `limit` octets.

    Stuffed dots do not count (RFC 1870 §4): in lines of a lone dot, the worst there is,
    they are one octet in four.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._stuffed_limit = limit + limit // 3 + len(_END)
        self._octets = bytearray(b"\r\n")  # so that a dot in the first line counts
        self._is_over = False
        self.received = 0

    @property
    def held(self) -> int:
        """How many octets this body keeps in memory."""
        return len(self._octets)

    def give_up(self) -> int:
        """Throw away what is held and what still comes; return the change of `held`."""
        self._is_over = True
        before = self.held
        del self._octets[: -len(_END) + 1]
        return self.held - before

    def feed(self, chunk: bytes) -> bytes | None:
        """Take a chunk; return None while the end is not seen, then what followed it."""
        octets = self._octets
        searched = max(len(octets) - len(_END) + 1, 0)
        octets += chunk
        self.received += len(chunk)
        end = octets.find(_END, searched)
        if end < 0:
            if self._is_over or len(octets) > self._stuffed_limit:
                self.give_up()
            return None
        rest = bytes(octets[end + len(_END) :])
        self.received -= len(rest)
        del octets[end + 2 :]
        return rest

    def content(self) -> bytes:
        """The message with its dots unstuffed; raises Reject when it was over the
        limit. Call it once, when `feed` has seen the end: the body then holds nothing."""
        octets, self._octets = self._octets, bytearray()
        if self._is_over:
            raise Reject(replies.too_large(self._limit))
        if b"\r\n." in octets:
            content = bytes(octets).replace(b"\r\n.", b"\r\n")[2:]
        else:
            content = bytes(memoryview(octets)[2:])
        if len(content) > self._limit:
            raise Reject(replies.too_large(self._limit))
        return content
