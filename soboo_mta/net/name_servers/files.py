"""A name server written to by zone files (RFC 1035 §5.1) in a directory of ours.

Each delegated zone is one file; `knot.conf` and `named.conf` beside them list all zones,
for the server's own configuration to include. Of the operator's zone only our records are
written, for its zone file to `$INCLUDE`. Files change by renaming, under a lock; a reload
that failed is made good at the next look.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.zone

from soboo_mta.identity.zones.zone_text import zone_record_line
from soboo_mta.mail.domain import DnsName
from soboo_mta.net.name_servers.command import run_command
from soboo_mta.net.name_servers.wire import content_of
from soboo_mta.onboarding.publish.difference import applied
from soboo_mta.ports import (
    NameServerError,
    NotServed,
    ServedZone,
    ZoneChange,
    ZoneMoved,
    ZoneRecord,
)

_SOA_TIMES = "3600 600 1209600 60"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """Where zone files stand, and how the server hears of them."""

    directory: Path
    """Ours alone; the name server reads it."""
    shared: DnsName
    """The operator's own zone: only our records of it are written."""
    host_master: DnsName
    """For the SOA: hostmaster.esp.example, a mailbox with a dot for @."""
    reload: tuple[str, ...]
    """Makes the server read its configuration and zones again."""


class ZoneDirectory:
    """A `NameServer` by zone files."""

    def __init__(self, options: FileOptions) -> None:
        self._options = options

    async def read(
        self, zone: DnsName, names: Sequence[DnsName]
    ) -> ServedZone | NotServed:
        """As `NameServer.read`: what stands in the file, after a reload that is due."""
        if self._due.exists():
            await self._reload()
        held = await asyncio.to_thread(self._held, zone)
        if held is None:
            return NotServed()
        return ServedZone(serial=held[0], records=held[1])

    async def create(
        self, zone: DnsName, name_servers: Sequence[DnsName], *, serial: int
    ) -> None:
        """As `NameServer.create`."""
        records = tuple(
            ZoneRecord(owner=zone, kind="NS", value=f"{one}.", ttl=3_600)
            for one in name_servers
        )

        def write() -> None:
            with self._lock():
                if self._held(zone) is None:
                    self._write_zone(zone, serial, records)
                    self._write_lists()

        await self._changed(write)

    async def apply(self, change: ZoneChange, *, seen: int, serial: int) -> None:
        """As `NameServer.apply`."""

        def write() -> None:
            with self._lock():
                held = self._held(change.zone)
                if held is None or held[0] != seen:
                    raise ZoneMoved(f"{change.zone} was changed by another writer")
                self._write_zone(change.zone, serial, applied(change, held[1]))

        await self._changed(write)

    async def withdraw(self, zone: DnsName) -> None:
        """As `NameServer.withdraw`."""
        if not self._file(zone).exists():
            return

        def write() -> None:
            with self._lock():
                self._due.touch()
                self._file(zone).unlink(missing_ok=True)
                self._write_lists()

        await self._changed(write)

    # ---- files

    @property
    def _due(self) -> Path:
        return self._options.directory / "reload-is-due"

    def _file(self, zone: DnsName) -> Path:
        ending = "records" if zone == self._options.shared else "zone"
        return self._options.directory / f"{zone}.{ending}"

    def _held(self, zone: DnsName) -> tuple[int, tuple[ZoneRecord, ...]] | None:
        """The serial and the records of a file; those of the operator's zone are there
        from the start, none of them."""
        file = self._file(zone)
        shared = zone == self._options.shared
        if not file.exists():
            return (0, ()) if shared else None
        text = file.read_text()
        if shared:  # a fragment: the SOA is the operator's, the serial in our head
            # Empty: made by the operator, whose zone file includes it already.
            serial = text.partition("\n")[0].removeprefix("; ") or "0"
            text = f"{zone}. 0 IN SOA . . {serial} 0 0 0 0\n{text}"
        try:
            return content_of(
                dns.zone.from_text(
                    text, f"{zone}.", relativize=False, check_origin=False
                )
            )
        except (dns.exception.DNSException, ValueError) as error:
            raise NameServerError(f"{file} can't be read: {error}") from error

    def _write_zone(
        self, zone: DnsName, serial: int, records: tuple[ZoneRecord, ...]
    ) -> None:
        servers = [one.value for one in records if one.kind == "NS"]
        head = f"; {serial}"
        if zone != self._options.shared:
            soa = f"{servers[0]} {self._options.host_master}. {serial} {_SOA_TIMES}"
            head = f"{zone}. 3600 IN SOA {soa}"
        self._due.touch()
        self._write(self._file(zone), [head, *map(zone_record_line, records)])

    def _write_lists(self) -> None:
        files = sorted(self._options.directory.glob("*.zone"))
        knot, bind = ["zone:"] if files else [], []
        for file in files:
            knot += [f'  - domain: "{file.stem}"', f'    file: "{file.absolute()}"']
            bind.append(
                f'zone "{file.stem}" {{ type primary; file "{file.absolute()}"; }};'
            )
        self._write(self._options.directory / "knot.conf", knot)
        self._write(self._options.directory / "named.conf", bind)

    def _write(self, file: Path, lines: Sequence[str]) -> None:
        fresh = file.with_name(f".{file.name}.new")
        with fresh.open("w") as out:
            out.write("".join(f"{line}\n" for line in lines))
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
        place = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self._options.directory / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # ---- the server

    async def _changed(self, write: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(write)
        except OSError as error:
            raise NameServerError(f"zone files can't be written: {error}") from error
        await self._reload()

    async def _reload(self) -> None:
        """The mark goes only after the server has heard: else a change is never served."""
        await run_command(self._options.reload, {})
        self._due.unlink(missing_ok=True)
