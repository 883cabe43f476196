"""One kept connection to a webhook: a request out, an answer in, by httptools (RFC 9112).

A general client costs a hundred times what signing an event does; this one knows POST,
reads a bounded answer, and nothing else.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Final

import httptools

from soboo_mta.ports import IpAddress

READ: Final = 16 * 1024  # octets of an answer; a longer one costs its connection
_SWITCHED: Final = 200  # statuses below it come before the answer


class WireError(Exception):
    """No answer came, or none of HTTP; the text says what instead.

    `is_stale`: the connection was used before and has ended with nothing said.
    """

    def __init__(self, cause: str, *, is_stale: bool = False) -> None:
        super().__init__(cause)
        self.is_stale = is_stale


@dataclass(slots=True)
class Answer:
    """What came back; `fields` with names in lower case. Filled in by the parser."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    is_complete: bool = False
    has_head: bool = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, octets: bytes) -> None:
        self.body += octets

    def on_message_complete(self) -> None:
        self.is_complete = True


class Wire:
    """A connection; one exchange at a time. `idle_since` is the caller's."""

    def __init__(
        self,
        address: IpAddress,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.address = address
        self.idle_since = 0.0
        self._reader = reader
        self._writer = writer
        self._is_used = False
        self._is_reusable = False

    @classmethod
    async def opened(
        cls, address: IpAddress, port: int, *, tls: ssl.SSLContext | None, name: str
    ) -> "Wire":
        """Connect to the address, and verify the certificate for the name; OSError."""
        reader, writer = await asyncio.open_connection(
            str(address),
            port,
            ssl=tls,
            server_hostname=name if tls is not None else None,
        )
        return cls(address, reader, writer)

    @property
    def is_reusable(self) -> bool:
        """Whether another exchange can be made, as far as is known."""
        return self._is_reusable and not self._reader.at_eof()

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and return its answer, whose body may be cut; raise WireError
        or OSError."""
        self._is_reusable = False
        self._writer.write(request)
        answer = Answer()
        # The library has no types: what it is given and gives is checked by Answer.
        parser = httptools.HttpResponseParser(answer)
        received = 0
        while not answer.is_complete:
            octets = await self._reader.read(READ)
            received += len(octets)
            try:
                parser.feed_data(octets)
                answer.status = parser.get_status_code()
            except httptools.HttpParserError as error:
                raise WireError(f"that is no answer of HTTP: {error}") from error
            if answer.is_complete and answer.status < _SWITCHED:
                answer = Answer()
                parser = httptools.HttpResponseParser(answer)
            elif not octets:
                return self._ended(answer, received)
            elif received > READ and not answer.is_complete:
                if not answer.has_head:
                    raise WireError("the header of its answer has no end")
                return answer
        self._is_used = True
        self._is_reusable = parser.should_keep_alive()
        return answer

    def close(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()

    def _ended(self, answer: Answer, received: int) -> Answer:
        """The other side closed: that ends a body without a length (RFC 9112 §6.3)."""
        has_length = "content-length" in answer.fields
        if answer.has_head and not has_length and not _is_chunked(answer):
            return answer
        is_stale = self._is_used and not received
        raise WireError("it closed before its answer was whole", is_stale=is_stale)


def _is_chunked(answer: Answer) -> bool:
    return "transfer-encoding" in answer.fields
