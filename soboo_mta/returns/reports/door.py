"""How a report that is posted is kept: octet for octet, committed before its answer.

It becomes a return like those that come by mail, one MIME part, so that the same process
apart reads it: here nothing looks behind its first octets. Who posted it is not proved, and
need not be (RFC 8460 §5.4; §7 has what that means). Owns no socket.
"""

from typing import Final

from soboo_mta.mail.errors import Reject
from soboo_mta.mail.reply import Reply, reply
from soboo_mta.ports import Clock, IpAddress
from soboo_mta.returns.reception import FULL, TROUBLE, DoorKind, Log
from soboo_mta.spool.returned.keeping import Arrived, Keeping
from soboo_mta.store.unit import StoreError, StoreFull

MAX_PACKED: Final = 1 << 20  # octets; a day of a large sender has a few thousand
MAX_PLAIN: Final = 4 << 20
MEDIA: Final = (
    "application/tlsrpt+gzip",
    "application/tlsrpt+json",
)  # RFC 8460 §6.4, §6.5
KEPT: Final = reply(250, "2.0.0", "The report is kept, and read in a moment")
NO_REPORT: Final = reply(
    554, "5.6.0", "The body is no TLS report: neither gzip nor a JSON object"
)
_GZIP: Final = b"\x1f\x8b"
_BEFORE_JSON: Final = b"\xef\xbb\xbf \t\r\n"
_LOOKED_AT: Final = 200  # octets


class ReportDoor:
    """Takes what is posted to the https: address of [publish] tls_reports."""

    def __init__(self, *, keeping: Keeping, clock: Clock, log: Log, url: str) -> None:
        """`url` is the address that reports were asked to."""
        self._keeping = keeping
        self._clock = clock
        self._log = log
        self._url = url

    def admit(self) -> None:
        """Raise Reject where there is no space: before the body is read."""
        if not self._keeping.has_room:
            raise Reject(FULL)

    async def keep(self, body: bytes, *, media: str, client: IpAddress) -> Reply:
        """Commit the report and return that it is kept; or raise Reject and keep nothing.
        `media` is one of MEDIA."""
        if not _may_be_report(body):
            raise Reject(NO_REPORT)
        arrived = Arrived(
            received_at=self._clock.unix_ms(),
            door=DoorKind.TLS_HTTPS.value,
            address=self._url,
            message_id=None,
            position=None,
            reverse_path="",
            client=str(client),
            client_name="",
            protocol="HTTPS",
            content=wrapped(body, media),
        )
        try:
            await self._keeping.keep([arrived])
        except StoreFull as error:
            raise Reject(FULL) from error
        except StoreError as error:
            self._log.internal_error(stage="commit of a report", error=error)
            raise Reject(TROUBLE) from error
        self._log.return_kept(
            door=arrived.door,
            address=arrived.address,
            size=len(arrived.content),
            client=arrived.client,
        )
        return KEPT


def wrapped(body: bytes, media: str) -> bytes:
    """Return a report as a message of one part, as RFC 2045 has it."""
    head = (
        "Subject: TLS report, posted\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: {media}\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    )
    return head.encode("ascii") + body


def limit_of(media: str) -> int:
    """Return how many octets a body of that type may have."""
    return MAX_PACKED if media == MEDIA[0] else MAX_PLAIN


def _may_be_report(body: bytes) -> bool:
    first = body[:_LOOKED_AT].lstrip(_BEFORE_JSON)
    return body.startswith(_GZIP) or first.startswith(b"{")
