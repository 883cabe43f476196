"""Reads the octets of a message, at a bearable pace and within the memory there is.

Whatever goes wrong, the octets are read to their end and thrown away, so that the
connection stays in step; where that end is not known it is closed. RFC 5321 §4.1.1.4.
"""

from soboo_mta.net.door import Caller
from soboo_mta.net.smtp_server.limits.pace import Pace
from soboo_mta.net.smtp_server.listener import Listener
from soboo_mta.net.smtp_server.protocol.body import Body
from soboo_mta.net.smtp_server.session.connection import READ_OCTETS, Service
from soboo_mta.net.smtp_server.session.opening import OpeningSession
from soboo_mta.submission import replies

_MAX_DRAINED = 16  # times the size limit: then a client that goes on is cut off


class ReadingSession(OpeningSession):
    """A connection that messages can come over."""

    def __init__(self, service: Service, listener: Listener, caller: Caller) -> None:
        self._held = 0
        self._max_octets = service.max_message_octets
        self._most_drained = _MAX_DRAINED * service.max_message_octets
        super().__init__(service, listener, caller)

    def hold(self, octets: int) -> bool:
        """Let this connection's message keep `octets` in memory; False when all
        connections together keep too much."""
        if octets == self._held:
            return True
        change, self._held = octets - self._held, octets
        return self._service.admission.hold(change)

    async def read_body(self) -> Body | None:
        """Ask for the message and read it to the final dot; None when there was no memory
        to keep it all."""
        self.answer(replies.START_DATA)
        await self.flush()
        body = Body(self._max_octets)
        self._is_in_content = True
        is_whole = await self._fill(body)
        self._is_in_content = False
        return body if is_whole else None

    async def _fill(self, body: Body) -> bool:
        pace = Pace(self._options, self.loop.time())
        is_whole = True
        rest = None
        while rest is None:
            rest = body.feed(await self.read_some(READ_OCTETS, pace))
            if body.received > self._most_drained:
                self.end_draining()
            if not self.hold(body.held):
                is_whole = False
                body.give_up()
                self.hold(body.held)
        if rest:
            self._reader._buffer[:0] = rest  # type: ignore[attr-defined] # no public way
        return is_whole

    async def read_some(self, most: int, pace: Pace) -> bytes:
        """Return some octets of the message, at most `most`. The client has the time
        that its pace leaves: an octet now and then does not keep the connection."""
        self.wait_until(pace.deadline(self.loop.time()), replies.TOO_SLOW)
        octets = await self._reader.read(most)
        if not octets:
            raise ConnectionResetError
        pace.count(len(octets), self.loop.time())
        return octets

    def end_draining(self) -> None:
        """A refused message is read to its end, but not for ever."""
        self._close_with(replies.too_large(self._max_octets))
        raise ConnectionResetError
